"""A median of the last hundred, and a histogram of all."""

import math

from devit_iot.service.durations import BOUNDS_S, Durations


def test_the_median_is_of_the_last_hundred() -> None:
    durations = Durations()
    assert durations.median_ms == 0.0
    durations.add(3.0)
    durations.add(1.0)
    assert durations.median_ms == 2.0
    for _ in range(1000):
        durations.add(1e9)
    for _ in range(51):
        durations.add(0.12345)
    assert durations.median_ms == 0.123
    for _ in range(49):
        durations.add(7.0)
    assert durations.median_ms == 0.123  # 51 of the last hundred
    durations.add(7.0)
    durations.add(7.0)
    assert durations.median_ms == 7.0


def test_the_histogram_counts_what_is_not_above_each_bound() -> None:
    durations = Durations()
    for milliseconds in (0.5, 1.0, 1.5, 2000.0, 1e9):
        durations.add(milliseconds)
    buckets, total_s = durations.histogram
    counts = dict(buckets)
    assert list(counts) == [*BOUNDS_S, math.inf]
    assert (counts[0.001], counts[0.0025], counts[1.0], counts[2.5]) == (2, 3, 3, 4)
    assert (counts[30.0], counts[math.inf]) == (4, 5)
    assert total_s == 0.003 + 2.0 + 1e6
