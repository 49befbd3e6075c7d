"""The hub: collects the features of each image, fuses them, publishes the label."""
