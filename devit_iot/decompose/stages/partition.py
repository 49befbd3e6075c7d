"""Which part specialises in which classes (docs/method.md, section 1)."""

import itertools
import random

import numpy as np
from numpy.typing import NDArray

from devit_iot.errors import ConfigError

Groups = tuple[tuple[int, ...], ...]
"""Per part, its classes in ascending order; disjoint and complete."""

MAX_ROUNDS = 50


def partition(classes: int, parts: int, seed: int) -> Groups:
    """Shuffle the classes and cut them into disjoint groups of nearly equal size.

    Args:
        classes: number of classes.
        parts: number of groups.
        seed: decides the shuffle.

    Returns:
        One ascending tuple of class indices per part; the first groups hold one more where the
        division leaves a remainder.

    Raises:
        ConfigError: more parts than classes, or no part.
    """
    order = list(range(classes))
    random.Random(seed).shuffle(order)
    bounds = list(itertools.accumulate(_sizes(classes, parts), initial=0))
    return tuple(tuple(sorted(order[start:stop])) for start, stop in itertools.pairwise(bounds))


def partition_by_similarity(means: NDArray[np.float64], parts: int, seed: int) -> Groups:
    """Put classes that the teacher sees alike into one group: k-means with groups of equal size.

    Each round assigns all classes at once, at the least total squared distance (Kuhn 1955), to as
    many places per centre as its group may hold (Malinen and Fraenti 2014).

    Args:
        means: the teacher's mean token of each class, float64[classes, dim].
        parts: number of groups.
        seed: decides the first centres.

    Raises:
        ConfigError: more parts than classes, or no part.
    """
    from scipy.optimize import linear_sum_assignment

    sizes = _sizes(len(means), parts)
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    centres = _spread(unit, parts, np.random.default_rng(seed))
    place_of = np.repeat(np.arange(parts), sizes)
    assigned = np.full(len(means), -1)
    for _ in range(MAX_ROUNDS):
        distances = ((unit[:, None] - centres[None]) ** 2).sum(axis=2)
        _, places = linear_sum_assignment(distances[:, place_of])
        before, assigned = assigned, place_of[places]
        if np.array_equal(before, assigned):
            break
        centres = np.stack([unit[assigned == part].mean(axis=0) for part in range(parts)])
    groups = (np.flatnonzero(assigned == part) for part in range(parts))
    return tuple(tuple(int(label) for label in group) for group in groups)


def _spread(
    points: NDArray[np.float64], count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """First centres far from each other: k-means++ (Arthur and Vassilvitskii 2007)."""
    chosen = [int(rng.integers(len(points)))]
    while len(chosen) < count:
        gaps = ((points[:, None] - points[chosen][None]) ** 2).sum(axis=2).min(axis=1)
        total = gaps.sum()
        weights = gaps / total if total > 0 else None  # all alike: any point will do
        chosen.append(int(rng.choice(len(points), p=weights)))
    return points[chosen]


def _sizes(classes: int, parts: int) -> list[int]:
    if not 1 <= parts <= classes:
        raise ConfigError(
            f"cannot cut {classes} classes into {parts} parts; give 1 to {classes} parts"
        )
    size, larger = divmod(classes, parts)
    return [size + (part < larger) for part in range(parts)]
