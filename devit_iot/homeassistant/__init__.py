"""What Home Assistant is told of a fleet."""
