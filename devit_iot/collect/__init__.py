"""Keeps pictures with their features on the hub, and teaches heads from them."""
