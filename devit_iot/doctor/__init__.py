"""Checks a board as a node would find it: ``devit doctor``."""
