"""Labelled images for commands: their labels, a sample of them, and progress over them."""

import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import click
import numpy as np
from numpy.typing import NDArray

from devit_iot.datasets.class_names import is_number, numbered, tidy
from devit_iot.datasets.source import ImageSource
from devit_iot.errors import DataError

_PROGRESS_S = 15
_SHOWN_CLASSES = 5


def evenly(source: ImageSource, limit: int | None) -> ImageSource:
    """``limit`` images of ``source``, evenly spread; None for all."""
    if limit is None or limit >= len(source):
        return source
    return source.subset(np.linspace(0, len(source) - 1, limit).round().astype(np.int64))


class Labels(NamedTuple):
    """What folders mean in a bundle.

    Attributes:
        labels: indices of the images' classes in the bundle, int64[count].
        notes: how folders were matched where it is not plain, for people.
    """

    labels: NDArray[np.int64]
    notes: tuple[str, ...]


def bundle_labels(classes: tuple[str, ...], source: ImageSource) -> Labels:
    """The source's labels as indices into the bundle's ``classes``.

    Folders that are no names of classes may be numbers: see
    :func:`devit_iot.datasets.class_names.numbered`. Where the classes' own names are numbers,
    equal ones match, however many zeros stand before them.

    Raises:
        DataError: the source has a class that the bundle has not, or it is not clear which.
    """
    folders = [tidy(name) for name in source.classes]
    used = {folders[label] for label in np.unique(source.labels)}
    index = {tidy(name): number for number, name in enumerate(classes)}
    often = {name for name, count in Counter(map(tidy, classes)).items() if count > 1}
    if used & often:
        raise DataError(
            f"'{min(used & often)}' of {source.origin} names several classes of the bundle; name "
            "folders by class index"
        )
    notes: tuple[str, ...] = ()
    if not used <= index.keys() and all(map(is_number, used)):
        numbers = [folder for folder in folders if is_number(folder)]
        if all(map(is_number, index)):
            values = {int(name): number for name, number in index.items()}
            index = {folder: values.get(int(folder), -1) for folder in numbers}
        else:
            index, notes = numbered(numbers, classes, source.origin)
    found = {folder: index.get(folder, -1) for folder in folders}
    unknown = sorted(folder for folder in used if found[folder] < 0)
    if unknown:
        alike = [name for name in classes if _without_label(name) == unknown[0]]
        if len(alike) > 1:
            raise DataError(
                f"'{unknown[0]}' of {source.origin} names several classes of the bundle "
                f"({', '.join(alike)}); name folders like these or by class index"
            )
        more = ", ..." if len(classes) > _SHOWN_CLASSES else ""
        raise DataError(
            f"'{unknown[0]}' of {source.origin} is no class of the bundle; name folders like its "
            f"classes ({', '.join(classes[:_SHOWN_CLASSES])}{more}) or by class index"
        )
    own = np.array([found[folder] for folder in folders], np.int64)
    return Labels(own[source.labels], notes)


def _without_label(name: str) -> str:
    """A class's name as it was before :func:`devit_iot.datasets.class_names.distinct`."""
    return re.sub(r" \(\d+\)$", "", name)


def shown(indices: range) -> Iterator[int]:
    """Hand on ``indices``; show progress and the time left on standard error."""
    if sys.stderr.isatty():
        with click.progressbar(indices, label="evaluating", file=sys.stderr) as bar:
            yield from bar
        return
    started = shown = time.monotonic()
    for done, index in enumerate(indices):
        now = time.monotonic()
        if done and now - shown >= _PROGRESS_S:
            shown = now
            left = (now - started) * (len(indices) - done) / done
            click.echo(f"{done} of {len(indices)} images, about {left:.0f} s left", err=True)
        yield index
