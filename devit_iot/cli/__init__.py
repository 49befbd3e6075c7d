"""The commands: parse, build, run. Errors become one line."""
