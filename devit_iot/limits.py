"""What an image may have, wherever one is decoded: in nodes, commands and trainings."""

MAX_PIXELS = 32_000_000
"""Of an image as it is decoded, a JPEG's after its reduced scale. A node's ``max_pixels`` replaces
it."""
