"""Which part specialises in which classes (METHOD, stage 1)."""

import itertools
import random

from devit_iot.errors import ConfigError


def partition(classes: int, parts: int, seed: int) -> tuple[tuple[int, ...], ...]:
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
    if not 1 <= parts <= classes:
        raise ConfigError(f"cannot cut {classes} classes into {parts} parts; change [[parts]]")
    order = list(range(classes))
    random.Random(seed).shuffle(order)
    size, larger = divmod(classes, parts)
    bounds = [index * size + min(index, larger) for index in range(parts + 1)]
    return tuple(tuple(sorted(order[start:stop])) for start, stop in itertools.pairwise(bounds))
