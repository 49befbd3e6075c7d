"""What a stretch of work took, in joules."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from devit_iot.energy.meter import Energy, EnergyMeter

T = TypeVar("T")

_EVERY_S = 1.0
"""A power chip is asked so often: a stretch may be short, and nothing waits for its images."""


class Stretch:
    """Reads a meter while work goes on: before it, every second, and after it.

    Args:
        meter: a meter that others do not read meanwhile.
        clock: monotonic seconds.

    Attributes:
        energy: what the machine took in the stretches until now, all its programs together; of
            stated watts, their power times the stretches' duration.
    """

    def __init__(self, meter: EnergyMeter, clock: Callable[[], float] = time.monotonic) -> None:
        self._meter = meter
        self._clock = clock
        self.energy = Energy(0.0, meter.source)

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """Hand on ``items``, each of which stands for a piece of work that follows it."""
        began = read_at = self._clock()
        before = self._meter.read(0.0, fresh=True).joules
        for item in items:
            yield item
            if self._clock() - read_at >= _EVERY_S:
                read_at = self._clock()
                self._meter.read(0.0, fresh=True)
        after = self._meter.read(self._clock() - began, fresh=True).joules
        self.energy = self.energy._replace(joules=self.energy.joules + after - before)
