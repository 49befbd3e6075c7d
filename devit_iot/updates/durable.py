"""Files that are whole or not there after a power cut."""

import os
from pathlib import Path

from devit_iot.bundle.durable import sync_folder


def write_file(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` at once and for good.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    settle(partial, path)


def settle(partial: Path, path: Path) -> None:
    """Give a file that was written and synced its name, for good."""
    partial.replace(path)
    sync_folder(path.parent)
