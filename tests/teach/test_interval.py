"""The limits that a report gives an accuracy hold for later pictures of the same camera."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from devit_iot.teach.examples import Examples
from devit_iot.teach.interval import accuracy_interval
from devit_iot.teach.learn import learn
from devit_iot.teach.moments import FOLDS, folds

SEEDS = range(20)
DIM = 6
MIDDLE, NOISE = 0.55, 0.3


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
    light = rng.normal(size=(moments, DIM)) + np.where(labels, MIDDLE, -MIDDLE)[:, None]
    values = light.repeat(frames, axis=0) + NOISE * rng.normal(size=(moments * frames, DIM))
    groups = np.arange(moments).repeat(frames)
    return values.astype(np.float32), labels[groups], groups


def test_answers_of_five_folds_tell_less_than_half_of_those_of_one_fit() -> None:
    """The factor 1 / 5 becomes 1 / 5 + 1 / 4."""
    by_folds = accuracy_interval(np.arange(90) < 81, np.arange(90), folds=5)
    by_one = accuracy_interval(np.arange(40) < 36, np.arange(40))
    assert by_folds == pytest.approx(by_one, abs=0.005)


def test_one_picture_says_nothing_whatever_asked_it() -> None:
    low, high = accuracy_interval(np.ones(1, np.bool_), np.zeros(1, np.int64), folds=2)
    assert low < 0.25
    assert high == pytest.approx(1.0)


def test_few_moments_tell_less_of_how_unlike_they_are() -> None:
    """Korn and Graubard (1998): the quotient of Student's quantiles, of 39 and 3 degrees here."""
    right = np.arange(40) % 10 < np.arange(1, 5).repeat(10) * 2
    counted = accuracy_interval(right, np.arange(4).repeat(10))
    assert counted.high - counted.low > 0.6


Line = tuple[NDArray[np.float64], float]


def discriminant(values: NDArray[np.float32], labels: NDArray[np.int64]) -> Line:
    """Fisher's linear discriminant of two classes: weights and bias."""
    shut, opened = (values[labels == label] for label in (0, 1))
    middles = shut.mean(axis=0), opened.mean(axis=0)
    within = np.cov(np.concatenate([shut - middles[0], opened - middles[1]]).T)
    weights = np.linalg.solve(within + 0.05 * np.eye(DIM), middles[1] - middles[0])
    return weights, -float(weights @ (middles[0] + middles[1])) / 2


def later_accuracy(line: Line) -> float:
    """The accuracy on all pictures that :func:`camera` could ever make."""
    weights, bias = line
    spread = math.sqrt(float(weights @ weights) * (1 + NOISE**2))
    apart = MIDDLE * float(weights.sum())
    return sum(0.5 + math.erf((apart + side * bias) / spread / 2**0.5) / 2 for side in (1, -1)) / 2


@pytest.mark.parametrize(("moments", "frames"), [(20, 3), (60, 3), (20, 10)])
def test_nineteen_of_twenty_cameras_keep_the_promise(moments: int, frames: int) -> None:
    """Cheap fits, so that enough cameras leave no chance to the share that keeps it."""
    kept = []
    for seed in range(400):
        values, labels, groups = camera(np.random.default_rng(seed), moments, frames)
        dealt = folds(labels, groups)
        right = np.zeros(len(labels), np.bool_)
        for fold in range(FOLDS):
            asked = dealt == fold
            weights, bias = discriminant(values[~asked], labels[~asked])
            right[asked] = (values[asked] @ weights + bias > 0) == labels[asked]
        low, high = accuracy_interval(right, groups, folds=FOLDS)
        kept.append(low <= later_accuracy(discriminant(values, labels)) <= high)
    assert np.mean(kept) > 0.92  # 95 %; three points are left to chance


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
    assert within >= len(SEEDS) - 1  # 95 % of them
