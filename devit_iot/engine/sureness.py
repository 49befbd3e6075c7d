"""How sure it is that the parts that have not answered would not change the answer."""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.calibration import Calibration, Stage


def scatter(scores: NDArray[np.floating], prior: NDArray[np.floating]) -> NDArray[np.float64]:
    """How far the evidence of the classes that are not the best lies apart, float64[images].

    It is their standard deviation, 0 where there is at most one. At equal log odds an answer
    stays less often where the others scatter more, most of all after one part (docs/results.md).

    Args:
        scores: float[images, classes]: logits, missing parts by their means.
        prior: float[classes]: logits of a fleet of which every part is missing.
    """
    images, classes = scores.shape
    others = np.arange(classes) != scores.argmax(axis=1)[:, None]
    evidence = (scores - prior).astype(np.float64)[others].reshape(images, classes - 1)
    found: NDArray[np.float64] = evidence.std(axis=1) if classes > 1 else np.zeros(images)
    return found


def log_odds(
    scores: NDArray[np.floating],
    prior: NDArray[np.floating],
    temperature: NDArray[np.floating],
    gain: float,
) -> NDArray[np.float64]:
    """Log odds of the best class against all others, float64[images].

    They are those of ``softmax((prior + gain (scores - prior)) / temperature)``. The parts that are
    missing agree with the others more often than not, so the evidence so far counts ``gain`` times;
    the temperature stands for what else they may add.

    Args:
        scores: float[images, classes]: logits, missing parts by their means.
        prior: float[classes]: logits of a fleet of which every part is missing.
        temperature: float[images]: positive divisors.
        gain: factor of the evidence.
    """
    sharpened = (prior + gain * (scores - prior)).astype(np.float64) / temperature[:, None]
    rows, best = np.arange(len(scores)), scores.argmax(axis=1)
    against = sharpened - sharpened[rows, best][:, None]
    against[rows, best] = -np.inf
    highest = against.max(axis=1, keepdims=True)
    found: NDArray[np.float64] = -(highest[:, 0] + np.log(np.exp(against - highest).sum(axis=1)))
    return found


def sureness(
    scores: NDArray[np.floating], prior: NDArray[np.floating], stage: Stage
) -> NDArray[np.float64]:
    """How probable it is that the whole fleet answers with the same class, float64[images].

    Args:
        scores: see :func:`log_odds`.
        prior: see :func:`log_odds`.
        stage: what was fitted for the parts that have answered.
    """
    temperature = stage.temperature + stage.scatter * scatter(scores, prior)
    odds = stage.offset + stage.slope * log_odds(scores, prior, temperature, stage.gain)
    found: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(odds, -50.0, 50.0)))
    return found


class Sureness:
    """The calibration of one head, ready to be asked.

    Args:
        calibration: what was fitted on held-out images.
        prior: float[classes]: logits of a fleet of which every part is missing.
    """

    def __init__(self, calibration: Calibration, prior: NDArray[np.floating]) -> None:
        self.head_version = calibration.head_version
        self.order = calibration.order
        self._stages: Mapping[tuple[int, ...], Stage] = {
            stage.parts: stage for stage in calibration.stages if stage.parts
        }
        self._by_count = {stage.count: stage for stage in calibration.stages if not stage.parts}
        self._prior = prior

    def stage(self, parts: Collection[int]) -> Stage:
        """What was fitted for these parts, or for as many; not for none, and not for all."""
        return self._stages.get(tuple(sorted(parts))) or self._by_count[len(parts)]

    def of(self, scores: NDArray[np.floating], parts: Collection[int]) -> NDArray[np.float64]:
        """See :func:`sureness`; ``parts`` are those that have answered."""
        return sureness(scores, self._prior, self.stage(parts))
