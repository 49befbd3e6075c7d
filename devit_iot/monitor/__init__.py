"""The state of a whole fleet, from what its members say."""
