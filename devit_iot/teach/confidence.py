"""Honest probabilities: a temperature, and a threshold below which the answer is ``unknown``."""

import math

import numpy as np
from numpy.typing import NDArray

_LOWEST, _HIGHEST = 0.01, 20.0
_STEPS = 28
HIGHEST_THRESHOLD = 0.8
"""An answer as probable as this is never ``unknown``.

Where classes are easy to tell apart all right answers are surer. A lost board, or dusk, must not
make all of them unknown.
"""

_GOLDEN = (5**0.5 - 1) / 2


def probabilities(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Softmax of ``logits / temperature`` over the last axis, float64[count, classes]."""
    scaled = logits.astype(np.float64) / temperature
    exponent = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    found: NDArray[np.float64] = exponent / exponent.sum(axis=-1, keepdims=True)
    return found


def cross_entropy(
    logits: NDArray[np.floating], labels: NDArray[np.int64], temperature: float
) -> float:
    """Mean cross-entropy, nats, with targets that leave 1 / (count + 2) to the other classes.

    That share (Platt 1999, after Laplace's rule of succession) keeps a handful of right answers
    from being taken for certainty.
    """
    count, classes = logits.shape
    scaled = (logits - logits.max(axis=1, keepdims=True)) / temperature
    norm = np.log(np.exp(scaled).sum(axis=1))
    share = 1 / (count + 2)
    true = scaled[np.arange(count), labels]
    others = (scaled.sum(axis=1) - true) / (classes - 1)
    return float((norm - (1 - share) * true - share * others).mean())


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """The temperature of the least cross-entropy (Guo et al. 2017), by golden section.

    Args:
        logits: scores of images that the fit had not seen, float[count, classes].
        labels: int64[count].
    """

    def loss(at: float) -> float:
        return cross_entropy(logits, labels, math.exp(at))

    low, high = math.log(_LOWEST), math.log(_HIGHEST)
    one, two = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_one, at_two = loss(one), loss(two)
    for _ in range(_STEPS):
        if at_one <= at_two:
            high, two, at_two = two, one, at_one
            one = high - _GOLDEN * (high - low)
            at_one = loss(one)
        else:
            low, one, at_one = one, two, at_two
            two = low + _GOLDEN * (high - low)
            at_two = loss(two)
    return math.exp((low + high) / 2)


def unknown_threshold(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], share: float
) -> float:
    """The probability below which ``share`` of the right answers lie, at most; at most 0.8.

    Args:
        confidence: probability of the most probable class, for images that the fit had not seen,
            float64[count].
        right: whether that class is the true one, bool[count].
        share: fraction of the right answers that may become ``unknown``; 0 makes none so.
    """
    if share == 0 or not right.any():
        return 0.0
    return min(HIGHEST_THRESHOLD, float(np.quantile(confidence[right], share, method="lower")))
