"""From a recipe or a checkpoint to a fleet bundle. Only ``cli`` imports this package."""
