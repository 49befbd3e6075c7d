"""The long-running programs: camera, node, aggregator, and what holds them together."""
