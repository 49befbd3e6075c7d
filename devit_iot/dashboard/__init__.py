"""The live page: its server; the page itself is in ``app``."""
