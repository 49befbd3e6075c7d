"""What processes use over time, and when that is called a leak."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_GROWTH = 0.05
"""Of the resident memory, over the measured two thirds of a run; a mebibyte is always allowed."""


class Usage(NamedTuple):
    """What one process uses at one moment."""

    resident_mib: float
    descriptors: int
    threads: int


class Sample(NamedTuple):
    """All processes, at one moment; ``seconds`` since the run began."""

    seconds: float
    usage: Mapping[str, Usage]


class Trend(NamedTuple):
    """What one process uses in a run, without its first third, in which caches fill.

    Attributes:
        slope: growth of the resident memory, MiB per hour: the median of the slopes between all
            pairs of samples (Theil and Sen), which a few peaks do not move.
        growth: what that makes of the run's other two thirds, of the memory at their begin.
        new_descriptors: the fewest in the last third less the fewest in the second: a file that
            is open for a moment, as while mosquitto saves, is no leak.
    """

    resident_mib: float
    most_mib: float
    slope: float
    growth: float
    descriptors: int
    threads: int
    new_descriptors: int
    new_threads: int

    @property
    def leaks(self) -> bool:
        """The rule: memory grows by over 5 % and over 1 MiB, or descriptors or threads do."""
        grows = self.growth > max(MAX_GROWTH, 1 / self.resident_mib)
        return grows or self.new_descriptors > 0 or self.new_threads > 0


def usage(pid: int) -> Usage:
    """What the process uses now."""
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return Usage(
        resident_mib=int(fields["VmRSS"].split()[0]) / 1024,
        descriptors=sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
        threads=int(fields["Threads"]),
    )


def trend(samples: Sequence[Sample], name: str) -> Trend:
    """How the process fared; at least six samples, steadily taken."""
    third = len(samples) // 3
    measured = samples[third:]
    seconds = np.array([sample.seconds for sample in measured])
    found = [sample.usage[name] for sample in measured]
    resident = np.array([one.resident_mib for one in found])
    slope = _median_slope(seconds, resident)
    earlier, later = found[:-third], found[-third:]
    return Trend(
        resident_mib=float(resident[0]),
        most_mib=max(sample.usage[name].resident_mib for sample in samples),
        slope=3600 * slope,
        growth=slope * float(seconds[-1] - seconds[0]) / float(resident[0]),
        descriptors=max(sample.usage[name].descriptors for sample in samples),
        threads=max(sample.usage[name].threads for sample in samples),
        new_descriptors=min(u.descriptors for u in later) - min(u.descriptors for u in earlier),
        new_threads=min(u.threads for u in later) - min(u.threads for u in earlier),
    )


def _median_slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    first, second = np.triu_indices(len(x), 1)
    return float(np.median((y[second] - y[first]) / (x[second] - x[first])))
