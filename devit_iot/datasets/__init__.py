"""Labelled images: class folders, archives, CIFAR, mosaics, digits. Needs numpy only."""
