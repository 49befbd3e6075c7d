"""A linear head on features: multinomial logistic regression, decorrelated part by part."""

import importlib
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from devit_iot.errors import ConfigError

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Tried inverses of the regularisation's weight, scikit-learn's ``C``."""

SHRINKAGE = 0.5
"""How far a part's covariance is moved towards a multiple of the identity (Ledoit and Wolf 2004).

Features of one network are strongly correlated. Halfway decorrelated ones need fewer steps and
fewer pictures; fully decorrelated ones are mostly noise where pictures are few.
"""

METHOD = "multinomial logistic regression on features decorrelated by half"
_MAX_STEPS = 500
_ROWS = 4096
"""Pictures whose features are in memory in double precision at once."""

_TOLERANCE = 1e-3


class Fitted(NamedTuple):
    """``logits = bias + sum_i weights[i] @ feature_i``, a missing part by ``means[i]``.

    Attributes:
        weights: per part, float64[classes, feature_dim].
        means: per part, float64[classes]: ``weights[i]`` times the mean feature.
        bias: float64[classes].
    """

    weights: tuple[NDArray[np.float64], ...]
    means: tuple[NDArray[np.float64], ...]
    bias: NDArray[np.float64]

    def logits(self, features: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
        """Scores of the classes, float64[count, classes], of float32[count, feature_dim]s."""
        terms = [values @ weight.T for values, weight in zip(features, self.weights, strict=True)]
        logits: NDArray[np.float64] = np.sum(terms, axis=0) + self.bias
        return logits

    def tensors(self, temperature: float = 1.0) -> dict[str, NDArray[np.float32]]:
        """The float32 tensors of a head, scores divided by ``temperature``."""
        found = {"bias": self.bias}
        for part, (weight, mean) in enumerate(zip(self.weights, self.means, strict=True)):
            found |= {f"parts.{part}.weight": weight, f"parts.{part}.mean": mean}
        return {name: (array / temperature).astype(np.float32) for name, array in found.items()}


def require_solver() -> None:
    """Raise ConfigError, saying what to do, unless scikit-learn loads."""
    try:
        importlib.import_module("sklearn.linear_model")
    except ImportError as error:
        raise ConfigError(
            "teaching needs scikit-learn: pip install 'devit-iot[teach]' on this machine; boards "
            "and aggregators do without"
        ) from error


def fit(
    features: Sequence[NDArray[np.float32]],
    labels: NDArray[np.int64],
    strengths: Sequence[float],
) -> list[Fitted]:
    """Fit one head for each strength; every class weighs the same, however many pictures it has.

    Args:
        features: per part, float32[count, feature_dim].
        labels: int64[count], each of ``range(classes)`` at least once.
        strengths: inverses of the regularisation's weight, ascending.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    require_solver()
    from sklearn.linear_model import LogisticRegression

    weights = 1 / np.bincount(labels)[labels]
    maps = [_decorrelation(values) for values in features]
    means = [_weighted_mean(values, weights) for values in features]
    inputs = _decorrelated(features, means, maps)
    solver = LogisticRegression(
        class_weight="balanced", max_iter=_MAX_STEPS, tol=_TOLERANCE, warm_start=True
    )
    fitted = []
    for strength in strengths:
        solver.set_params(C=strength)
        with warnings.catch_warnings():  # many classes, and a fit that is close enough, warn
            warnings.simplefilter("ignore", UserWarning)
            solver.fit(inputs, labels)
        fitted.append(_unfolded(solver.coef_, solver.intercept_, means, maps))
    return fitted


def _weighted_mean(
    values: NDArray[np.float32], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The mean of float32[count, dim], float64[dim], each row with its weight."""
    total = np.zeros(values.shape[1])
    for start in range(0, len(values), _ROWS):
        total += weights[start : start + _ROWS] @ values[start : start + _ROWS]
    mean: NDArray[np.float64] = total / weights.sum()
    return mean


def _decorrelated(
    features: Sequence[NDArray[np.float32]],
    means: Sequence[NDArray[np.float64]],
    maps: Sequence[NDArray[np.float64]],
) -> NDArray[np.float32]:
    """What the solver gets: the centred features of all parts beside each other."""
    count = len(features[0])
    inputs = np.empty((count, sum(len(mean) for mean in means)), np.float32)
    for start in range(0, count, _ROWS):
        rows = slice(start, start + _ROWS)
        inputs[rows] = np.hstack(
            [
                (values[rows] - mean) @ map_
                for values, mean, map_ in zip(features, means, maps, strict=True)
            ]
        )
    return inputs


def _decorrelation(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The symmetric matrix that half decorrelates centred features, float64[dim, dim]."""
    mean = values.mean(axis=0)
    covariance = np.zeros((len(mean), len(mean)))
    for start in range(0, len(values), _ROWS):
        centred = values[start : start + _ROWS] - mean
        covariance += centred.T @ centred
    covariance /= len(values)
    scale = np.trace(covariance) / len(covariance)
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * scale * np.eye(len(covariance))
    eigenvalues, vectors = np.linalg.eigh(shrunk)
    floor = np.finfo(np.float32).eps * max(eigenvalues.max(), 1.0)
    root: NDArray[np.float64] = (vectors / np.sqrt(np.maximum(eigenvalues, floor))) @ vectors.T
    return root


def _unfolded(
    coefficients: NDArray[np.floating],
    intercept: NDArray[np.floating],
    means: Sequence[NDArray[np.float64]],
    maps: Sequence[NDArray[np.float64]],
) -> Fitted:
    """Multiply out centring and decorrelation, so that the head takes features as they come."""
    if len(coefficients) == 1:  # two classes: scikit-learn keeps the difference alone
        coefficients = np.vstack([-coefficients, coefficients]) / 2
        intercept = np.hstack([-intercept, intercept]) / 2
    borders = np.cumsum([len(mean) for mean in means])[:-1]
    blocks = np.split(coefficients.astype(np.float64), borders, axis=1)
    weights = tuple(block @ map_ for block, map_ in zip(blocks, maps, strict=True))
    offsets = tuple(weight @ mean for weight, mean in zip(weights, means, strict=True))
    return Fitted(weights, offsets, intercept - np.sum(offsets, axis=0))
