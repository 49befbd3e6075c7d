"""Our engine beside other engines on the same board: ``devit bench``."""
