"""How sure an answer is, against the formula of docs/bundle.md, section 9, class by class."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from devit_iot.bundle.calibration import Stage
from devit_iot.engine.sureness import scatter, sureness


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


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("factor", [0.0, 0.7])
def test_sureness_is_the_documented_formula(classes: int, factor: float) -> None:
    rng = np.random.default_rng(classes)
    scores, prior = rng.standard_normal((20, classes)), rng.standard_normal(classes)
    stage = Stage(1, (), 0.4, 1.7, 0.8, -0.3, factor)
    wanted = [slow_sureness(row, prior, stage) for row in scores]
    np.testing.assert_allclose(sureness(scores, prior, stage), wanted, rtol=1e-9)


def test_one_other_class_scatters_nothing() -> None:
    scores = np.array([[3.0, -1.0], [0.0, 5.0]])
    assert scatter(scores, np.zeros(2)).tolist() == [0.0, 0.0]
    assert scatter(scores[:, :1], np.zeros(1)).tolist() == [0.0, 0.0]


def test_what_says_nothing_is_no_surer_than_the_prior() -> None:
    """Evidence that scatters nothing leaves the temperature as it is: nothing is divided by 0."""
    prior = np.array([0.2, 0.0, 0.0])
    stage = Stage(1, (), 0.5, 2.0, 1.0, 0.0, 3.0)
    assert sureness(prior[None], prior, stage)[0] == pytest.approx(
        math.exp(0.4) / (math.exp(0.4) + 2)
    )
