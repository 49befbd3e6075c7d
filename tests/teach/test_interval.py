"""The limits that a report gives an accuracy hold for later pictures of the same camera."""

import numpy as np
import pytest
from numpy.typing import NDArray

from devit_iot.teach.examples import Examples
from devit_iot.teach.interval import accuracy_interval
from devit_iot.teach.learn import learn

SEEDS = range(20)
DIM = 6


def test_wilsons_interval_where_every_picture_is_a_moment() -> None:
    """Newcombe (1998), table I: 81 of 263, and 0 of 20."""
    right = np.arange(263) < 81
    assert accuracy_interval(right, np.arange(263)) == pytest.approx((0.2553, 0.3662), abs=2e-4)
    none = accuracy_interval(np.zeros(20, np.bool_), np.arange(20))
    assert none == pytest.approx((0.0, 0.1611), abs=2e-4)


def test_pictures_of_one_moment_count_once() -> None:
    """Ten frames of each moment, all right or all wrong, say no more than one frame does."""
    right = np.arange(40) < 31
    single = accuracy_interval(right, np.arange(40))
    tenfold = accuracy_interval(right.repeat(10), np.arange(40).repeat(10))
    assert tenfold == pytest.approx(single, abs=0.005)
    independent = accuracy_interval(right.repeat(10), np.arange(400))
    assert independent.high - independent.low < 0.4 * (single.high - single.low)


def test_where_nothing_was_wrong_each_moment_counts() -> None:
    low, high = accuracy_interval(np.ones(100, np.bool_), np.arange(10).repeat(10))
    assert low == pytest.approx(0.722, abs=0.001)
    assert high == pytest.approx(1.0)


def camera(
    rng: np.random.Generator, moments: int, frames: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Features, labels and moments: what a moment has in common differs more than its frames."""
    labels = np.arange(moments) % 2
    light = rng.normal(size=(moments, DIM)) + np.where(labels, 0.55, -0.55)[:, None]
    values = light.repeat(frames, axis=0) + 0.3 * rng.normal(size=(moments * frames, DIM))
    groups = np.arange(moments).repeat(frames)
    return values.astype(np.float32), labels[groups], groups


@pytest.mark.slow
def test_later_pictures_are_within_what_was_promised() -> None:
    """Twenty cameras; each is asked about so many later pictures that their chance is small."""
    promised, later, within = [], [], 0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        values, labels, groups = camera(rng, moments=60, frames=3)
        count = len(labels)
        names, nowhen = tuple(map(str, range(count))), np.full(count, np.nan)
        found = Examples(("shut", "open"), names, labels, nowhen, (values,), 0, (), 0)
        learnt = learn(found, groups, 0.05)
        asked, true, _ = camera(rng, moments=4000, frames=1)
        given = learnt.fitted.logits((asked,)).argmax(axis=1)
        promised.append(learnt.result.top1)
        later.append(float((given == true).mean()))
        low, high = learnt.result.interval
        within += low <= later[-1] <= high
    assert abs(np.mean(promised) - np.mean(later)) < 0.03
    assert within >= len(SEEDS) - 3  # 95 % of 20 are 19; fewer than 17 come once in 60 times
