"""Checkpoints of others, and trained weights, become tensors of a bundle. Needs no torch."""
