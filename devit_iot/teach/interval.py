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


def accuracy_interval(
    right: NDArray[np.bool_], groups: NDArray[np.int64], *, folds: int = 0
) -> Interval:
    """The interval of the accuracy on all pictures that might have been taken.

    Pictures of one moment are right or wrong together, so they tell less than as many pictures of
    different moments. As many independent ones as tell the same (Kish 1965, by the variance
    between the moments) enter the interval of Wilson (1927), as Korn and Graubard (1998) do it
    with the one of Clopper and Pearson; they count as fewer where few moments leave that variance
    uncertain. If all are right, or all wrong, nothing is known of it, and each moment counts once.

    The answers of a cross-validation tell less again: its fits have most pictures in common, and
    none of them is the fit on all pictures, of which the accuracy is promised. So the variance
    counts as in the corrected test of Nadeau and Bengio (2003): the factor ``1 / folds`` becomes
    ``1 / folds + asked / seen``, where a fit is asked about so many pictures and saw so many.

    Args:
        right: whether a fit that saw neither a picture nor its moment gave its class, bool[count].
        groups: number of each picture's moment, int64[count].
        folds: number of folds whose fits answered, two at least; 0: one fit answered, and it is the
            one of which the accuracy is wanted.
    """
    share = float(right.mean())
    _, moment = np.unique(groups, return_inverse=True)
    excess = np.bincount(moment, right - share)  # by moment
    moments = len(excess)
    variance = float((excess**2).sum()) / len(right) ** 2 * moments / max(moments - 1, 1)
    count = float(moments)
    if variance > 0:
        count = share * (1 - share) / variance
        count *= (_student(len(right) - 1) / _student(moments - 1)) ** 2
        count = min(count, float(len(right)))
    if folds:
        count /= 1 + folds / (folds - 1)
    return _wilson(share, max(count, 1.0))


def _student(degrees: int) -> float:
    """Student's quantile that belongs to :data:`_NORMAL` (Abramowitz and Stegun 1964, 26.7.5)."""
    z = _NORMAL
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / degrees + second / degrees**2


def _wilson(share: float, count: float) -> Interval:
    """Wilson's interval of a share of ``count`` independent answers."""
    square = _NORMAL**2
    centre = (share + square / (2 * count)) / (1 + square / count)
    spread = share * (1 - share) / count + square / (4 * count**2)
    half = _NORMAL * math.sqrt(spread) / (1 + square / count)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))
