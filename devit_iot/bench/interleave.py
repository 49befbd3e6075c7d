"""Times contenders in turn, so that whatever disturbs the machine disturbs all of them."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

_WARM_S = 0.1


class Timing(NamedTuple):
    """Milliseconds of one call: median, 90th percentile and least of so many rounds."""

    median: float
    p90: float
    least: float
    rounds: int


def interleave(
    contenders: Mapping[str, Callable[[], float]], *, seconds: float, least: int, most: int
) -> dict[str, Timing]:
    """Run the contenders round-robin.

    Before each measured call stands one that is not measured: the weights of a small network are
    in the cache again, as they are on a device that runs nothing else. A network whose call takes
    more than 0.1 s is too large for that to matter.

    Args:
        contenders: functions by name; each runs once and says how many seconds that took.
        seconds: time after which no round begins.
        least: lowest number of rounds, whatever they take.
        most: highest number of rounds.
    """
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        run()
    end = time.perf_counter() + seconds
    for number in range(most):
        if number >= least and time.perf_counter() > end:
            break
        for name, run in contenders.items():
            taken = run()
            found[name].append(taken if taken > _WARM_S else run())
    return {name: summary(values) for name, values in found.items()}


def summary(seconds: list[float]) -> Timing:
    """The figures of measured calls."""
    median, p90, least = np.percentile(seconds, (50, 90, 0)) * 1e3
    return Timing(float(median), float(p90), float(least), len(seconds))


def timed(run: Callable[[], object]) -> Callable[[], float]:
    """``run`` as a contender: the seconds that it takes in this process."""

    def seconds() -> float:
        begin = time.perf_counter()
        run()
        return time.perf_counter() - begin

    return seconds
