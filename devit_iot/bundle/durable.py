"""Names in a folder that last through a power cut."""

import os
from pathlib import Path


def sync_folder(path: Path) -> None:
    """Make the names in a folder last.

    Raises:
        OSError: the folder cannot be opened, or the disk fails.
    """
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
