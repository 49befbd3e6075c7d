"""How accurate the fleet is, whole and with parts lost, and how honest its confidence."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from devit_iot.errors import DataError
from devit_iot.export.fold import F32

MAX_COMBINATIONS = 5000
CALIBRATION_BINS = 15


class LostParts(msgspec.Struct, frozen=True):
    """Top-1, as a fraction, over all fleets that lost ``count`` parts.

    Attributes:
        count: number of lost parts.
        mean: mean accuracy over all choices of lost parts.
        worst: accuracy at the worst choice.
        worst_parts: parts of the worst choice, ascending; the first such choice.
    """

    count: int
    mean: float
    worst: float
    worst_parts: tuple[int, ...] = ()


class Fused:
    """The logits of a labelled set, and what losing each part changes in them."""

    def __init__(
        self,
        features: Sequence[NDArray[np.floating[Any]]],
        fusion: Mapping[str, F32],
        labels: NDArray[np.int64],
    ) -> None:
        """Multiply every part's features by its fusion matrix, once.

        Args:
            features: per part, float[images, feature_dim].
            fusion: the tensors of :func:`devit_iot.bundle.spec.FusionSpec.tensors`.
            labels: int64[images].
        """
        terms = [values @ fusion[f"parts.{i}.weight"].T for i, values in enumerate(features)]
        self._labels = labels
        self._whole: NDArray[np.floating[Any]] = np.sum(terms, axis=0) + fusion["bias"]
        self._changes = [fusion[f"parts.{i}.mean"] - term for i, term in enumerate(terms)]

    @property
    def logits(self) -> NDArray[np.floating[Any]]:
        """The logits of the whole fleet, float[images, classes]."""
        return self._whole

    def top1(self, lost: Sequence[int]) -> float:
        """Accuracy, as a fraction, when the parts ``lost`` count with their means."""
        logits = self._whole
        for part in lost:
            logits = logits + self._changes[part]
        return float((logits.argmax(axis=1) == self._labels).mean())

    def lose(self, count: int) -> LostParts:
        """Try every choice of ``count`` lost parts.

        Raises:
            DataError: there are more than ``MAX_COMBINATIONS`` of them.
        """
        parts = len(self._changes)
        check_choices(parts, count)
        found = {lost: self.top1(lost) for lost in combinations(range(parts), count)}
        worst = min(found, key=found.__getitem__)
        return LostParts(count, sum(found.values()) / len(found), found[worst], worst)

    def counts(self) -> list[int]:
        """The numbers of lost parts, from 0 to all but one, that :meth:`lose` accepts."""
        parts = len(self._changes)
        return [count for count in range(parts) if math.comb(parts, count) <= MAX_COMBINATIONS]


def check_choices(parts: int, count: int) -> None:
    """Raise DataError if ``count`` of ``parts`` can be lost in too many ways to try them all."""
    if math.comb(parts, count) > MAX_COMBINATIONS:
        raise DataError(
            f"{count} of {parts} parts can be lost in {math.comb(parts, count)} ways; at most "
            f"{MAX_COMBINATIONS} are tried, choose another number"
        )


def calibration_error(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = CALIBRATION_BINS
) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy.

    ECE = sum_m |B_m| / n * |accuracy(B_m) - confidence(B_m)|, B_m the images whose confidence
    lies in ((m - 1) / M, m / M]; Guo et al. 2017, eq. (3).

    Args:
        confidence: confidence of the best class, float64[images], 0 to 1.
        right: whether that class is the true one, bool[images].
        bins: number of bins of equal width, M.
    """
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))
