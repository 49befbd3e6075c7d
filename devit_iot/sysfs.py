"""Small files of Linux's sysfs, which may be missing, unreadable or hold anything."""

from pathlib import Path


def read_text(file: Path) -> str | None:
    """The file's text; None if it is not there, or its sensor is off."""
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


def read_number(file: Path, base: int = 10) -> int | None:
    """The whole number in the file; None if there is none."""
    text = read_text(file)
    try:
        return None if text is None else int(text, base)
    except ValueError:
        return None
