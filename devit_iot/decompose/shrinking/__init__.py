"""Which heads, neurons and blocks a part keeps, and how the rest is cut out."""
