"""From a recipe and a large ViT to the bundle of a fleet. Needs the extra ``train``."""
