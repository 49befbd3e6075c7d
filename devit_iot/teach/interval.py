"""Between which limits an accuracy lies that was measured on few pictures."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_NORMAL = 1.959964
"""Quantile of the normal distribution that leaves 95 % between its two signs."""


class Interval(NamedTuple):
    """Limits of an accuracy, as fractions, with a confidence of 95 %."""

    low: float
    high: float


def accuracy_interval(right: NDArray[np.bool_], groups: NDArray[np.int64]) -> Interval:
    """The interval of the accuracy on all pictures that might have been taken.

    Pictures of one moment are right or wrong together, so they tell less than as many pictures of
    different moments. As many independent ones as tell the same (Kish 1965, by the variance
    between the moments) enter the interval of Wilson (1927), as Korn and Graubard (1998) do it
    with the one of Clopper and Pearson. If all are right, or all wrong, nothing is known of that
    variance, and each moment counts once.

    Args:
        right: whether a fit that saw neither a picture nor its moment gave its class, bool[count].
        groups: number of each picture's moment, int64[count].
    """
    share = float(right.mean())
    _, moment = np.unique(groups, return_inverse=True)
    excess = np.bincount(moment, right - share)  # by moment
    moments = len(excess)
    variance = float((excess**2).sum()) / len(right) ** 2 * moments / max(moments - 1, 1)
    count = share * (1 - share) / variance if variance > 0 else float(moments)
    return _wilson(share, min(max(count, 1.0), float(len(right))))


def _wilson(share: float, count: float) -> Interval:
    """Wilson's interval of a share of ``count`` independent answers."""
    square = _NORMAL**2
    centre = (share + square / (2 * count)) / (1 + square / count)
    spread = share * (1 - share) / count + square / (4 * count**2)
    half = _NORMAL * math.sqrt(spread) / (1 + square / count)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))
