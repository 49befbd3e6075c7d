"""Names of classes: read from files, and told apart. One rule for imports and for training."""

import json
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from devit_iot.bundle.manifest import MAX_NAME_LENGTH
from devit_iot.errors import DataError
from devit_iot.protocol.text import is_plain
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
    """Names that repeat get their label behind them: ``crane (134)``, ``crane (517)``.

    A name that another one thereby becomes equal to gets its label too.
    """
    found = [tidy(name) for name in names]
    while often := {name for name, count in Counter(found).items() if count > 1}:
        found = [f"{name} ({label})" if name in often else name for label, name in enumerate(found)]
    return tuple(found)


def is_number(folder: str) -> bool:
    """Whether a folder is named by a number, perhaps with zeros before it."""
    return folder.isascii() and folder.isdecimal()


def numbered(
    folders: Sequence[str], names: Sequence[str], origin: str, *, usual: Literal[0, 1] = 0
) -> tuple[dict[str, int], tuple[str, ...]]:
    """The classes of folders that are named by numbers, counted from 0 or from 1.

    They are counted from 0 if there is a folder 0, and from 1 if there is none and one has the
    number of classes. Otherwise nothing tells, and ``usual`` is assumed.

    Args:
        folders: names of the folders that there are, each :func:`is_number`.
        names: names of all classes, in their order.
        origin: place of the folders, for messages.
        usual: number of the first class, 0 or 1, where nothing tells; it needs no note.

    Returns:
        Folder -> index of its class, without those of no class; and what was found or assumed,
        for people, if it is not what is usual.

    Raises:
        DataError: two folders have one number, or there are folders for 0 and for the number of
            classes.
    """
    by_number = {int(folder): folder for folder in folders}
    if len(by_number) < len(folders):
        again = next(folder for folder in folders if by_number[int(folder)] != folder)
        raise DataError(
            f"folders '{again}' and '{by_number[int(again)]}' of {origin} have one number; put "
            "them together"
        )
    count = len(names)
    if by_number.keys() >= {0, count}:
        raise DataError(
            f"{origin} has folders '{by_number[0]}' and '{by_number[count]}', but there are "
            f"{count} classes: neither counted from 0 nor from 1 do they fit; remove one"
        )
    known = 0 if 0 in by_number else 1 if count in by_number else None
    first = usual if known is None else known
    index = {
        folder: number - first
        for number, folder in sorted(by_number.items())
        if first <= number < first + count
    }
    if not index or known == usual:
        return index, ()
    example = next(iter(index))
    meaning = f"folder '{example}' of {origin} is class '{names[index[example]]}'"
    if known is not None:
        return index, (f"folders are numbered from {known}, to {known + count - 1}: {meaning}",)
    assumed = (
        f"ASSUMED: folders are numbered from {usual}, though there is none for 0 nor for {count}, "
        f"which would tell: {meaning}"
    )
    return index, (assumed,)
