"""A whole fleet on this machine, to look at."""
