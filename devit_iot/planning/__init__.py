"""Which board carries what: ``devit plan``."""
