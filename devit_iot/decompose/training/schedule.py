"""How fast a stage learns, and when it ends: by its epochs, or by the clock."""

import math
from typing import NamedTuple, Protocol

from devit_iot.decompose.recipe import StageConfig
from devit_iot.decompose.run_folder.clock import Clock

FIRST_RATE = 1e-3
"""The warm-up's first learning rate, as a share of the peak."""


class Pace(Protocol):
    """How much of a stage is done."""

    def progress(self, steps: int) -> float:
        """0 at the beginning; from 1 on the stage is over.

        Args:
            steps: steps done so far, those of earlier attempts included.
        """


class ByEpochs(NamedTuple):
    """A stage of a given number of steps."""

    total: int

    def progress(self, steps: int) -> float:
        """See :class:`Pace`."""
        return steps / self.total


class ByTime(NamedTuple):
    """A stage that lasts from ``begun`` to ``end``, in seconds of the run's clock."""

    clock: Clock
    begun: float
    end: float

    def progress(self, steps: int) -> float:  # noqa: ARG002 - however many they are
        """See :class:`Pace`."""
        return (self.clock.now() - self.begun) / max(self.end - self.begun, 1e-9)


def learning_rate(config: StageConfig, progress: float) -> float:
    """Linear warm-up, then half a cosine down to zero (Loshchilov and Hutter 2017, eq. 5).

    The warm-up takes the same share of a stage however long it is.
    """
    warmup = min(config.warmup_epochs / config.epochs, 0.5)
    if progress < warmup:
        return config.learning_rate * max(FIRST_RATE, progress / warmup)
    decayed = min(1.0, (progress - warmup) / (1 - warmup))
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * decayed))
