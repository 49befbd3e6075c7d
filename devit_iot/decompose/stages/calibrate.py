"""One temperature for the fleet's logits, so that the published confidence means something."""

import math

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional

LOG_BOUNDS = (-3.0, 3.0)
"""Of the temperature's natural logarithm."""


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The T by which ``logits / T`` says best how likely its best class is right.

    See docs/method.md, eq. 17.

    It minimises the binary cross-entropy between the published confidence, the largest
    probability, and whether that class is the true one: a proper score of just that number. The
    multi-class cross-entropy (Guo et al. 2017, sec. 4.2) also weighs all other classes, and for
    networks that were distilled it sharpens the confidence too far.

    Args:
        logits: scores of held-out images, float[images, classes].
        labels: int64[images].
    """
    scores = logits.double()
    right = (scores.argmax(dim=1) == labels).double()
    hits = right.sum()
    # Platt's targets (1999, sec. 2.2): a few images that are all right make nothing certain.
    wanted = torch.where(right > 0, (hits + 1) / (hits + 2), 1 / (len(right) - hits + 2))

    def cost(log_temperature: float) -> float:
        confidence = functional.softmax(scores / math.exp(log_temperature), dim=1).amax(dim=1)
        return float(functional.binary_cross_entropy(confidence, wanted))

    found = minimize_scalar(cost, bounds=LOG_BOUNDS, method="bounded")
    return math.exp(min(float(found.x), 0.0, key=cost))  # there may be more than one valley
