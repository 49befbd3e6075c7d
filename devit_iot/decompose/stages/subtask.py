"""What one part is made for, and what it is taught."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from devit_iot.decompose.training.context import TrainingData

_SEED = 7919


class SubTask(NamedTuple):
    """The task of one network.

    Attributes:
        part: the part's index.
        group: the classes that it specialises in, ascending.
        scope: the classes that it knows, ascending: its own, or all where it sees others too.
        others: share of the other classes' images that it is taught with.
    """

    part: int
    group: tuple[int, ...]
    scope: tuple[int, ...]
    others: float = 0.0

    @property
    def own_places(self) -> list[int]:
        """Where the classes of ``group`` stand in ``scope``."""
        return [self.scope.index(label) for label in self.group]

    def own(self, data: TrainingData, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The ones of ``rows`` that show a class of the group."""
        return rows[np.isin(data.labels[rows], self.group)]

    def taught(self, data: TrainingData) -> NDArray[np.int64]:
        """The rows to train on: all of the group's, and a fixed choice of other classes' rows."""
        rows = data.fit
        own = np.isin(data.labels[rows], self.group)
        other = np.random.default_rng((_SEED, self.part)).permutation(rows[~own])
        chosen = other[: round(self.others * len(other))]
        return np.sort(np.concatenate([rows[own], chosen]))

    def labels(self, data: TrainingData) -> NDArray[np.int64]:
        """Every image's place in ``scope``, int64[count]; -1 outside it."""
        place = np.full(len(data.classes), -1)
        place[list(self.scope)] = np.arange(len(self.scope))
        return place[data.labels]


def sub_tasks(groups: Sequence[tuple[int, ...]], others: float) -> list[SubTask]:
    """One task for each group; with ``others`` each knows the classes of all groups."""
    everything = tuple(sorted(label for group in groups for label in group))
    return [
        SubTask(index, group, everything if others else group, others)
        for index, group in enumerate(groups)
    ]


def whole_task(classes: int) -> SubTask:
    """The task of a network that knows everything."""
    return sub_tasks([tuple(range(classes))], 0.0)[0]
