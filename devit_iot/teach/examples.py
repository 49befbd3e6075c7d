"""Labelled pictures as their features, each content once."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from devit_iot.datasets.source import ImageSource
from devit_iot.datasets.taken import taken_at
from devit_iot.errors import DataError, ImageError
from devit_iot.evaluation.local import LocalFleet
from devit_iot.teach.cache import FeatureCache, picture_key


class Examples(NamedTuple):
    """Pictures that a head is taught, or measured on.

    Attributes:
        classes: names, by label.
        names: names of the pictures, ``class/.../file.ext``.
        labels: int64[count].
        taken: float64[count], seconds since 1970; NaN where nothing says it.
        features: per part, float32[count, feature_dim].
        computed: number of pictures whose features were not in the cache.
        unreadable: one line for each picture that could not be read.
        repeated: number of pictures that were left out, because their bytes are those of another.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    taken: NDArray[np.float64]
    features: tuple[NDArray[np.float32], ...]
    computed: int
    unreadable: tuple[str, ...]
    repeated: int

    def subset(self, indices: NDArray[np.int64]) -> "Examples":
        """The pictures at ``indices``, int64[count]; the classes stay."""
        return self._replace(
            names=tuple(self.names[index] for index in indices),
            labels=self.labels[indices],
            taken=self.taken[indices],
            features=tuple(values[indices] for values in self.features),
        )


def read_examples(
    fleet: LocalFleet,
    source: ImageSource,
    cache: FeatureCache,
    shown: Callable[[range], Iterable[int]],
) -> Examples:
    """Compute, or find, the features of every picture of a source.

    Args:
        fleet: computes what the cache does not have.
        source: the pictures.
        cache: cache of the features of the fleet's parts.
        shown: hands on the indices while it shows progress.

    Raises:
        DataError: a picture lies in two classes, not one could be read, or the cache fails.
    """
    first: dict[bytes, int] = {}
    kept: list[int] = []
    taken: list[float | None] = []
    unreadable: list[str] = []
    computed = 0
    rows: tuple[NDArray[np.float32], ...] = ()
    for index in shown(range(len(source))):
        try:
            payload = source.sample(index).payload
        except DataError as error:
            unreadable.append(f"{source.names[index]}: {error}")
            continue
        key = picture_key(payload)
        if key in first:
            _check_same_class(source, first[key], index)
            continue
        cached = key if fleet.crop is None else picture_key(key + fleet.crop.encode())
        found = cache.get(cached)
        if found is None:
            try:
                computed_now = [part.values for part in fleet.features(payload)]
            except ImageError as error:
                unreadable.append(f"{source.names[index]}: {error}")
                continue
            found = cache.put(cached, computed_now)
            computed += 1
        rows = rows or tuple(np.empty((len(source), len(part)), np.float32) for part in found)
        for values, row in zip(rows, found, strict=True):
            values[len(kept)] = row
        first[key] = index
        kept.append(index)
        taken.append(taken_at(source.names[index], payload))
    if not kept:
        raise DataError(
            f"no picture of {source.origin} could be read, the first one is {unreadable[0]}"
        )
    return Examples(
        source.classes,
        tuple(source.names[index] for index in kept),
        source.labels[kept],
        np.array([np.nan if at is None else at for at in taken]),
        tuple(values[: len(kept)] for values in rows),
        computed,
        tuple(unreadable),
        len(source) - len(kept) - len(unreadable),
    )


def _check_same_class(source: ImageSource, one: int, other: int) -> None:
    classes = [source.classes[source.labels[index]] for index in (one, other)]
    if classes[0] != classes[1]:
        raise DataError(
            f"{source.names[one]} and {source.names[other]} are the same picture in the classes "
            f"'{classes[0]}' and '{classes[1]}': remove it from one of them"
        )
