"""The judgement of `make bench-check`, on times that were made up."""

import numpy as np
import pytest

from devit_iot.bench.paired import Verdict, judge

ROUNDS = 31
TOLERANCE = 0.05


def made_up(factor: float, seed: int, noise: float = 0.03) -> Verdict:
    """Rounds of two builds with noise of their own, on a machine that gets slower meanwhile."""
    rng = np.random.default_rng(seed)
    machine = np.linspace(1, 3, ROUNDS)
    old, new = rng.lognormal(0, noise, (2, ROUNDS)) * machine
    return judge(list(old), list(new * factor))


def flagged(factor: float, noise: float = 0.03, seeds: int = 300) -> int:
    return sum(made_up(factor, seed, noise).slower_than(TOLERANCE) for seed in range(seeds))


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.03, 0.2])
def test_noise_is_not_slower(noise: float) -> None:
    assert flagged(1.0, noise) == 0


@pytest.mark.parametrize("factor", [0.5, 0.95, 1.02])
def test_what_is_faster_or_hardly_slower_passes(factor: float) -> None:
    assert flagged(factor) == 0


@pytest.mark.parametrize(("factor", "noise"), [(1.06, 0.005), (1.1, 0.03), (2.0, 0.2)])
def test_slower_is_caught(factor: float, noise: float) -> None:
    assert flagged(factor, noise) >= 295  # 300 comparisons


def test_exactly_the_tolerance_is_flagged_as_rarely_as_the_confidence_says() -> None:
    assert flagged(1.05, seeds=2000) <= 2000 * 0.016  # 1 %, and three standard deviations


def test_rounds_that_something_interrupted_decide_nothing() -> None:
    rng = np.random.default_rng(0)
    new = np.where(rng.random(ROUNDS) < 0.25, 5.0, 1.0)
    assert not judge([1.0] * ROUNDS, list(new)).slower_than(TOLERANCE)


def test_the_ratio_is_the_median() -> None:
    assert judge([2.0] * 8, [1, 2, 3, 4, 6, 8, 10, 12]).ratio == 2.5
    assert judge([1.0] * 9, [9, 1, 2, 3, 5, 4, 8, 7, 6]).ratio == 5


def test_too_few_rounds_are_refused() -> None:
    judge([1.0] * 7, [2.0] * 7)
    for few in (0, 1, 6):
        with pytest.raises(ValueError, match=f"{few} rounds are too few"):
            judge([1.0] * few, [2.0] * few)


def test_rounds_without_a_partner_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        judge([1.0] * 9, [2.0] * 8)
