"""The looks of all pictures that are drawn."""
