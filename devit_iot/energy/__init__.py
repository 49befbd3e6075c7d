"""Joules: what a machine takes, and what a stretch of work took."""
