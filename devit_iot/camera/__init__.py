"""Pictures of cameras, files and streams, published at a steady rate."""
