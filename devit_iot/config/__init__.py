"""What can be configured: a TOML file, the environment and options become one structure."""
