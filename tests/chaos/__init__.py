"""Faults, floods and intruders: what a fleet must survive."""
