"""Joules of a call that is made again and again."""

import time
from collections.abc import Callable, Iterator

from devit_iot.energy.meter import EnergyMeter
from devit_iot.energy.stretch import Stretch


def joules_of_call(
    run: Callable[[], object],
    meter: EnergyMeter,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """What the machine takes while ``run`` is called for so many seconds, per call, joules.

    Args:
        run: the call; it is made once at least.
        meter: a meter with a source.
        seconds: time after which no call begins.
        clock: monotonic seconds.
    """
    end, calls = clock() + seconds, 0

    def turns() -> Iterator[None]:
        nonlocal calls
        while not calls or clock() < end:
            calls += 1
            yield

    stretch = Stretch(meter)
    for _ in stretch.over(turns()):
        run()
    return stretch.energy.joules / calls
