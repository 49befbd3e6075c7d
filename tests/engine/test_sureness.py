"""How sure an answer is, against the formula of docs/bundle.md, section 9, class by class."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from devit_iot.bundle.calibration import Stage
from devit_iot.engine.sureness import compare, scatter, sureness


def slow_sureness(z: NDArray[np.float64], p: NDArray[np.float64], stage: Stage) -> float:
    """One image, class by class."""
    best = max(range(len(z)), key=lambda c: z[c])
    others = [z[c] - p[c] for c in range(len(z)) if c != best]
    mean = sum(others) / len(others)
    apart = math.sqrt(sum((one - mean) ** 2 for one in others) / len(others))
    divisor = stage.temperature + stage.scatter * apart
    powers = [
        math.exp((p[c] + stage.gain * (z[c] - p[c])) / divisor - z[best] / divisor)
        for c in range(len(z))
    ]
    against = sum(powers) - powers[best]
    odds = stage.slope * math.log(powers[best] / against) + stage.offset
    return 1 / (1 + math.exp(-odds))


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
@pytest.mark.parametrize("factor", [0.0, 0.7])
def test_sureness_is_the_documented_formula(classes: int, factor: float) -> None:
    rng = np.random.default_rng(classes)
    scores, prior = rng.standard_normal((20, classes)), rng.standard_normal(classes)
    stage = Stage(1, (), 0.4, 1.7, 0.8, -0.3, factor)
    wanted = [slow_sureness(row, prior, stage) for row in scores]
    np.testing.assert_allclose(sureness(scores, prior, stage), wanted, rtol=1e-9)
    alone = [sureness(row, prior, stage) for row in scores]
    np.testing.assert_allclose(alone, wanted, rtol=1e-9)


def test_what_an_aggregator_adds_up_in_float32_is_compared_in_float64() -> None:
    """Logits far from 0 lose no digits beyond those that float32 has."""
    rng = np.random.default_rng(8)
    scores = (50 + 4 * rng.standard_normal((20, 100))).astype(np.float32)
    prior = (50 + rng.standard_normal(100)).astype(np.float32)
    stage = Stage(1, (), 0.4, 1.7, 0.3, -0.3, 0.2)
    wanted = [slow_sureness(row.astype(float), prior.astype(float), stage) for row in scores]
    np.testing.assert_allclose(sureness(scores, prior, stage), wanted, rtol=1e-9)


def test_extreme_evidence_is_certain_and_overflows_nowhere() -> None:
    scores, stage = np.array([[9e4, 0.0, -9e4], [5.0, 4.0, 3.0]]), Stage(1, (), 0.1, 1.5, 1.0, 0.0)
    assert sureness(scores, np.zeros(3), stage).round(3).tolist() == [1.0, 1.0]
    assert sureness(scores, np.array([9e4, 0.0, 0.0]), stage)[1] == 0.0


def test_one_other_class_scatters_nothing() -> None:
    scores, prior = np.array([[3.0, -1.0], [0.1, 5.7]]), np.array([0.7, 0.3])
    assert scatter(compare(scores, prior)).tolist() == [0.0, 0.0]
    assert scatter(compare(scores[:, :1], prior[:1])).tolist() == [0.0, 0.0]


def test_what_says_nothing_is_no_surer_than_the_prior() -> None:
    """Evidence that scatters nothing leaves the temperature as it is: nothing is divided by 0."""
    prior = np.array([0.2, 0.0, 0.0])
    stage = Stage(1, (), 0.5, 2.0, 1.0, 0.0, 3.0)
    assert sureness(prior[None], prior, stage)[0] == pytest.approx(
        math.exp(0.4) / (math.exp(0.4) + 2)
    )
