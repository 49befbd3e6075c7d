"""One board: runs its part on every image and publishes the feature."""
