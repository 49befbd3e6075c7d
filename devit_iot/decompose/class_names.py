"""Names of classes: read from files, and told apart. One rule for imports and for training."""

import json
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from devit_iot.bundle import MAX_NAME_LENGTH
from devit_iot.errors import DataError
from devit_iot.text import is_plain
from devit_iot.text_file import read_text


def read_class_names(path: Path) -> tuple[str, ...]:
    """The names in a text file, one a line, or in a JSON list of strings.

    White space around names is left out; letters are put together (NFC), as
    keyboards type them. Empty lines at the end count for nothing.

    Raises:
        DataError: the file cannot be read, or a name is empty or cannot be printed.
    """
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a text file of class names: {error}") from error
    if text.lstrip().startswith("["):
        try:
            listed = json.loads(text)
        except ValueError as error:
            raise DataError(f"{path} begins like a JSON list but is none: {error}") from error
        if not all(isinstance(name, str) for name in listed):
            raise DataError(f"{path} must be a list of names alone")
    else:
        listed = text.rstrip().splitlines()
    names = tuple(tidy(name) for name in listed)
    for line, name in enumerate(names, start=1):
        if not name:
            raise DataError(f"{path}: name {line} is empty; give every class a name")
        if not is_plain(name, MAX_NAME_LENGTH):
            raise DataError(
                f"{path}: name {line}, {name[:MAX_NAME_LENGTH]!r}, is longer than "
                f"{MAX_NAME_LENGTH} characters, or has some that cannot be printed"
            )
    return names


def tidy(name: str) -> str:
    """A name without white space around it, its letters put together (Unicode's NFC)."""
    return unicodedata.normalize("NFC", name).strip()


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names that repeat get their label behind them: ``crane (134)``, ``crane (517)``."""
    found = [tidy(name) for name in names]
    often = {name for name, count in Counter(found).items() if count > 1}
    return tuple(f"{name} ({label})" if name in often else name for label, name in enumerate(found))
