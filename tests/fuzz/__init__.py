"""Whatever bytes arrive, readers give a value or one of our errors."""
