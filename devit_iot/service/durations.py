"""How long a stage took: lately, and in all."""

import math
import statistics
import threading
from bisect import bisect_left
from collections import deque
from typing import NamedTuple

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the histogram's buckets, seconds; a last bucket takes what is longer."""

_LAST = 100


class Histogram(NamedTuple):
    """What was added so far.

    Attributes:
        buckets: upper bound in seconds and how many durations are not above it; the last is inf.
        total_s: sum of all durations.
    """

    buckets: tuple[tuple[float, int], ...]
    total_s: float


class Durations:
    """Durations of one stage: a median of the last hundred, a histogram of all. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: deque[float] = deque(maxlen=_LAST)
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._total_s = 0.0

    def add(self, milliseconds: float) -> None:
        """Remember one more."""
        with self._lock:
            self._last.append(milliseconds)
            self._counts[bisect_left(BOUNDS_S, milliseconds / 1e3)] += 1
            self._total_s += milliseconds / 1e3

    @property
    def median_ms(self) -> float:
        """The median of the last hundred, milliseconds; 0 before the first."""
        with self._lock:
            return round(statistics.median(self._last), 3) if self._last else 0.0

    @property
    def total_s(self) -> float:
        """The sum of all since the start, seconds."""
        with self._lock:
            return self._total_s

    @property
    def histogram(self) -> Histogram:
        """All since the start."""
        with self._lock:
            counts, total_s = tuple(self._counts), self._total_s
        below = 0
        buckets = []
        for bound, count in zip((*BOUNDS_S, math.inf), counts, strict=True):
            below += count
            buckets.append((bound, below))
        return Histogram(tuple(buckets), total_s)
