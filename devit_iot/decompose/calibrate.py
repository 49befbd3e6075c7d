"""One temperature for the fleet's logits, so that the published confidence means something."""

import math

from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional

LOG_BOUNDS = (-3.0, 3.0)
"""Of the temperature's natural logarithm."""


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The T that minimises the cross-entropy of ``logits / T`` (Guo et al. 2017, sec. 4.2).

    Args:
        logits: of held-out images, float[images, classes].
        labels: int64[images].
    """
    scores = logits.double()

    def cost(log_temperature: float) -> float:
        return float(functional.cross_entropy(scores / math.exp(log_temperature), labels))

    found = minimize_scalar(cost, bounds=LOG_BOUNDS, method="bounded")
    return math.exp(float(found.x))
