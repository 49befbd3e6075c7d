"""Who may give a fleet its releases: metadata by The Update Framework, and when a clock counts."""
