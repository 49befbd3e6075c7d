"""From image bytes to a feature, and from features to class scores."""
