"""How accurate the fleet is, whole and with parts lost."""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

import msgspec
import numpy as np
from numpy.typing import NDArray

from devit_iot.decompose.fold import F32, F64

MAX_COMBINATIONS = 5000


class LostParts(msgspec.Struct, frozen=True):
    """Top-1, as a fraction, over all fleets that lost ``count`` parts."""

    count: int
    mean: float
    worst: float


class Evaluation(msgspec.Struct, frozen=True):
    """Top-1 accuracies, as fractions.

    Attributes:
        single: with only part i lost, by i.
        by_count: for every number of lost parts that has few enough combinations to try them all,
            none lost first, all lost excluded.
    """

    single: tuple[float, ...]
    by_count: tuple[LostParts, ...]

    @property
    def whole(self) -> float:
        """Top-1 of the whole fleet."""
        return self.by_count[0].mean


def evaluate(
    features: Sequence[F64], fusion: Mapping[str, F32], labels: NDArray[np.int64]
) -> Evaluation:
    """Fuse the features of a labelled set with every choice of lost parts.

    Args:
        features: per part, float64[images, feature_dim].
        fusion: the tensors of :func:`devit_iot.spec.fusion_tensors`.
        labels: int64[images].
    """
    parts = range(len(features))
    contributions = [features[i] @ fusion[f"parts.{i}.weight"].T for i in parts]

    def top1(lost: Collection[int]) -> float:
        terms = [fusion[f"parts.{i}.mean"] if i in lost else contributions[i] for i in parts]
        logits = np.broadcast_to(fusion["bias"], contributions[0].shape) + sum(terms)
        return float((logits.argmax(axis=1) == labels).mean())

    by_count = []
    for count in parts:
        if math.comb(len(parts), count) <= MAX_COMBINATIONS:
            found = [top1(lost) for lost in combinations(parts, count)]
            by_count.append(LostParts(count, sum(found) / len(found), min(found)))
    return Evaluation(tuple(top1([i]) for i in parts), tuple(by_count))
