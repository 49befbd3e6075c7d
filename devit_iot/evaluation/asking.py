"""Ask one part after the other until the answer is sure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.head import Head
from devit_iot.engine.sureness import Sureness

Array = NDArray[np.floating[Any]]


class Evidence(NamedTuple):
    """What the parts of a fleet say of some images, by one head.

    Attributes:
        terms: per part, float[images, classes]: contribution less its mean.
        prior: float[classes]: logits of a fleet of which every part is missing.
    """

    terms: tuple[Array, ...]
    prior: Array

    def scores(self, parts: Sequence[int]) -> Array:
        """The logits when just these parts have answered, float[images, classes]."""
        total: Array = self.prior + sum(self.terms[part] for part in parts)
        return total

    @property
    def whole(self) -> NDArray[np.int64]:
        """The whole fleet's answers, int64[images]."""
        answers: NDArray[np.int64] = self.scores(range(len(self.terms))).argmax(axis=1)
        return answers


def evidence(features: Sequence[Array], head: Head) -> Evidence:
    """Multiply every part's features by the head's matrix.

    Args:
        features: per part, float[images, feature_dim].
        head: head that answers.
    """
    means = [head.tensors[f"parts.{part}.mean"] for part in range(len(features))]
    terms = tuple(
        values @ head.tensors[f"parts.{part}.weight"].T - mean
        for part, (values, mean) in enumerate(zip(features, means, strict=True))
    )
    return Evidence(terms, head.tensors["bias"] + np.sum(means, axis=0))


class Asked(NamedTuple):
    """What came of asking one part after the other.

    Attributes:
        used: number of parts that made each label, int64[images].
        answers: int64[images].
    """

    used: NDArray[np.int64]
    answers: NDArray[np.int64]


def ask(found: Evidence, judge: Sureness, order: Sequence[int], confidence: float) -> Asked:
    """Answer each image as soon as it is so probable that the whole fleet's answer is the same.

    Args:
        found: what the parts say.
        judge: the head's calibration.
        order: every part once.
        confidence: probability from which on an answer is given.
    """
    answers, parts = found.whole, len(order)
    used = np.full(len(answers), parts, np.int64)
    for count in range(1, parts):
        asked = order[:count]
        scores = found.scores(asked)
        sure = (used == parts) & (judge.of(scores, asked) >= confidence)
        answers[sure] = scores.argmax(axis=1)[sure]
        used[sure] = count
    return Asked(used, answers)
