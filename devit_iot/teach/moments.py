"""Which pictures are of one moment, so that no fit is asked about a neighbour of what it saw."""

import numpy as np
from numpy.typing import NDArray

from devit_iot.datasets.source import ImageSource
from devit_iot.errors import DataError
from devit_iot.teach.examples import Examples

GAP_S = 60.0
"""Pictures of a class that lie less apart, and what lies between them, are of one moment."""

ALIKE = 0.99
"""Cosine of the features of neighbouring pictures without a time that count as one moment."""

FOLDS = 5
_PAIRS = 4096
_FEWEST = 2


def moments(examples: Examples, gap_s: float) -> NDArray[np.int64]:
    """Number the moments: pictures with the same number must not be told apart by any measure.

    Pictures of one class follow each other by time, those without a time by name. A new moment
    begins after a pause of more than ``gap_s`` seconds; between pictures without a time it begins
    unless their features are alike.

    Args:
        examples: each content once.
        gap_s: seconds; 0 makes every picture a moment of its own.

    Returns:
        int64[count].
    """
    count = len(examples.labels)
    if gap_s == 0:
        return np.arange(count)
    timed = np.isfinite(examples.taken)
    places = np.arange(count)
    order = np.lexsort((places, np.where(timed, examples.taken, 0), ~timed, examples.labels))
    one, two = order[:-1], order[1:]
    together = examples.labels[one] == examples.labels[two]
    near = examples.taken[two] - examples.taken[one] <= gap_s  # False for NaN
    untimed = ~timed[one] & ~timed[two]
    together &= near | (untimed & (_cosines(examples, one, two) >= ALIKE))
    found = np.zeros(count, np.int64)
    found[order] = np.concatenate([[0], np.cumsum(~together)])
    return found


def check_classes(source: ImageSource) -> None:
    """Raise DataError if there is nothing to tell apart, before any feature is computed."""
    if len(source.classes) < _FEWEST:
        raise DataError(
            f"{source.origin} has only the class '{source.classes[0]}': make one folder for each "
            "class, two at least"
        )


def check_enough(examples: Examples, groups: NDArray[np.int64]) -> None:
    """Raise DataError unless every class can be learnt, and measured on what no fit saw.

    Args:
        examples: each content once.
        groups: int64[count], what :func:`moments` returned.
    """
    for label, name in enumerate(examples.classes):
        pictures = int((examples.labels == label).sum())
        if pictures == 0:
            raise DataError(f"no picture of class '{name}' could be read: {examples.unreadable[0]}")
        if pictures < _FEWEST:
            repeated = " (the others are the very same bytes)" if examples.repeated else ""
            raise DataError(
                f"class '{name}' has one picture{repeated}: {_FEWEST} of different moments are the "
                "least, 10 a good start"
            )
        if len(np.unique(groups[examples.labels == label])) < _FEWEST:
            raise DataError(
                f"all {pictures} pictures of class '{name}' are of one moment, so nothing would be "
                "left to measure on: add some of another time, or say --gap 0 to count each "
                "picture by itself"
            )


def folds(labels: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Deal the moments of each class out to :data:`FOLDS` folds of about equal size.

    Args:
        labels: int64[count].
        groups: int64[count]; a group has one label.

    Returns:
        int64[count], the fold that holds each picture out.
    """
    dealt = np.zeros(len(labels), np.int64)
    total = np.zeros(FOLDS, np.int64)
    for label in np.unique(labels):
        own = np.zeros(FOLDS, np.int64)
        members = np.flatnonzero(labels == label)
        _, place, sizes = np.unique(groups[members], return_inverse=True, return_counts=True)
        fold_of = np.zeros(len(sizes), np.int64)
        for group in np.argsort(-sizes, kind="stable"):
            fold_of[group] = fold = int(np.lexsort((total, own))[0])
            own[fold] += sizes[group]
            total[fold] += sizes[group]
        dealt[members] = fold_of[place]
    return dealt


def _cosines(
    examples: Examples, one: NDArray[np.int64], two: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Cosine of the concatenated features of each pair, float64[pairs]."""
    products = np.zeros((3, len(one)))
    for start in range(0, len(one), _PAIRS):  # copies of all pairs would be large
        rows = slice(start, start + _PAIRS)
        for values in examples.features:
            first, second = values[one[rows]], values[two[rows]]
            pairs = ((first, second), (first, first), (second, second))
            products[:, rows] += [np.einsum("ij,ij->i", a, b) for a, b in pairs]
    cosines: NDArray[np.float64] = products[0] / np.sqrt(products[1] * products[2])
    return cosines
