"""Labelled images for commands: their labels, a sample of them, and progress over them."""

import sys
import time
from collections import Counter
from collections.abc import Iterator

import click
import numpy as np
from numpy.typing import NDArray

from devit_iot.decompose.class_names import tidy
from devit_iot.decompose.data import ImageSource
from devit_iot.errors import DataError

_PROGRESS_S = 15
_SHOWN_CLASSES = 5


def evenly(source: ImageSource, limit: int | None) -> ImageSource:
    """``limit`` images of ``source``, evenly spread; None for all."""
    if limit is None or limit >= len(source):
        return source
    return source.subset(np.linspace(0, len(source) - 1, limit).round().astype(np.int64))


def bundle_labels(classes: tuple[str, ...], source: ImageSource) -> NDArray[np.int64]:
    """The source's labels, int64[count], as indices into the bundle's ``classes``.

    Raises:
        DataError: the source has a class that the bundle has not.
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
    if not used <= index.keys():
        by_number = {str(number): number for number in range(len(classes))}
        if not used <= by_number.keys():
            more = ", ..." if len(classes) > _SHOWN_CLASSES else ""
            raise DataError(
                f"'{min(used - index.keys())}' of {source.origin} is no class of the bundle; name "
                f"folders like its classes ({', '.join(classes[:_SHOWN_CLASSES])}{more}) or by "
                "class index"
            )
        index = by_number
    own = np.array([index.get(name, -1) for name in folders], np.int64)
    return own[source.labels]


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
