"""How sure it is that the parts that have not answered would not change the answer."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.calibration import Calibration, Stage


class Compared(NamedTuple):
    """What the parts that answered say of one image or of many, class by class.

    Attributes:
        evidence: float64[..., classes]: logits less the prior, less that of the best class.
        prior: float[classes]: logits of a fleet of which every part is missing.
        best: index of each image's best class in ``evidence``, which is 0 there.
    """

    evidence: NDArray[np.float64]
    prior: NDArray[np.floating]
    best: tuple[Any, ...]


def compare(scores: NDArray[np.floating], prior: NDArray[np.floating]) -> Compared:
    """Compare all classes of each image with its best one.

    Args:
        scores: float[..., classes]: logits, missing parts by their means.
        prior: float[classes]: logits of a fleet of which every part is missing.
    """
    best = (*map(np.arange, scores.shape[:-1]), scores.argmax(axis=-1))
    evidence = np.subtract(scores, prior, dtype=np.float64)
    evidence -= evidence[best][..., None]
    return Compared(evidence, prior, best)


def scatter(found: Compared) -> NDArray[np.float64]:
    """How far the evidence of the classes that are not the best lies apart, float64[...].

    It is their standard deviation, 0 where there is at most one. At equal log odds an answer
    stays less often where the others scatter more, most of all after one part (docs/results.md).
    The best class adds nothing to the sums, since its evidence is 0.
    """
    others = max(found.evidence.shape[-1] - 1, 1)
    mean = found.evidence.sum(axis=-1) / others
    square = np.square(found.evidence).sum(axis=-1) / others
    spread: NDArray[np.float64] = np.sqrt(np.maximum(square - mean * mean, 0.0))
    return spread


def log_odds(found: Compared, temperature: NDArray[np.float64], gain: float) -> NDArray[np.float64]:
    """Log odds of the best class against all others, float64[...].

    They are those of ``softmax((prior + gain evidence) / temperature)``. The parts that are missing
    agree with the others more often than not, so the evidence so far counts ``gain`` times; the
    temperature stands for what else they may add.

    Args:
        found: the classes of each image.
        temperature: float[...]: positive divisors.
        gain: factor of the evidence.
    """
    expected = gain * found.evidence
    expected += found.prior
    best = expected[found.best]
    expected[found.best] = -np.inf
    highest = expected.max(axis=-1)
    expected -= highest[..., None]
    expected /= temperature[..., None]
    others = np.log(np.exp(expected, out=expected).sum(axis=-1))
    odds: NDArray[np.float64] = (best - highest) / temperature - others
    return odds


def sureness(
    scores: NDArray[np.floating], prior: NDArray[np.floating], stage: Stage
) -> NDArray[np.float64]:
    """How probable it is that the whole fleet answers with the same class, float64[...].

    Args:
        scores: see :func:`compare`.
        prior: see :func:`compare`.
        stage: what was fitted for the parts that have answered.
    """
    found = compare(scores, prior)
    temperature = stage.temperature + stage.scatter * scatter(found)
    odds = stage.offset + stage.slope * log_odds(found, temperature, stage.gain)
    stays: NDArray[np.float64] = 0.5 + 0.5 * np.tanh(0.5 * odds)
    return stays


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
