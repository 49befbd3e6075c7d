"""The fit, its temperature and its threshold, against what they promise."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from devit_iot.evaluation.lost_parts import Fused
from devit_iot.teach.confidence import (
    cross_entropy,
    fit_temperature,
    probabilities,
    unknown_threshold,
)
from devit_iot.teach.examples import Examples
from devit_iot.teach.fit import fit
from devit_iot.teach.measure import ask, evenly_of_each, learning_curve, lose_each, lose_some
from devit_iot.teach.moments import folds

Features = tuple[NDArray[np.float32], ...]


def clouds(
    counts: tuple[int, ...], dims: tuple[int, ...], seed: int = 0, spread: float = 1.0
) -> tuple[Features, NDArray[np.int64]]:
    """Classes as clouds around random centres; the features of each part are correlated."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    features = []
    for part, dim in enumerate(dims):
        fixed = np.random.default_rng(100 + part)
        centres = fixed.normal(size=(len(counts), dim))
        mix = fixed.normal(size=(dim, dim)) / dim**0.5
        noise = spread * rng.normal(size=(len(labels), dim)) @ mix
        features.append((5 + centres[labels] + noise).astype(np.float32))
    return tuple(features), labels


def examples(features: Features, labels: NDArray[np.int64]) -> Examples:
    count = len(labels)
    classes = tuple(f"class-{label}" for label in range(labels.max() + 1))
    names = tuple(map(str, range(count)))
    return Examples(classes, names, labels, np.full(count, np.nan), features, 0, (), 0)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_head_gives_the_probabilities_of_the_fit(classes: int) -> None:
    """Centring, decorrelation and two classes' difference are multiplied out without a trace."""
    features, labels = clouds((12,) * classes, (5, 7))
    (found,) = fit(features, labels, [0.3])
    maps = []
    for values in features:
        centred = values - values.mean(axis=0)
        covariance = centred.T @ centred / len(values)
        shrunk = 0.5 * covariance + 0.5 * np.trace(covariance) / len(covariance) * np.eye(
            len(covariance)
        )
        eigenvalues, vectors = np.linalg.eigh(shrunk)
        maps.append(centred @ (vectors / np.sqrt(eigenvalues)) @ vectors.T)
    solver = LogisticRegression(C=0.3, class_weight="balanced", max_iter=500, tol=1e-3)
    wanted = solver.fit(np.hstack(maps), labels).predict_proba(np.hstack(maps))
    assert np.allclose(probabilities(found.logits(features), 1.0), wanted, atol=2e-3)


def test_a_lost_part_counts_with_the_mean_of_a_balanced_set() -> None:
    features, labels = clouds((40, 4), (6, 5))
    (found,) = fit(features, labels, [0.1])
    balanced = (features[1][:40].mean(axis=0) + features[1][40:].mean(axis=0)) / 2
    assert np.allclose(found.means[1], found.weights[1] @ balanced, rtol=1e-4, atol=1e-5)


def test_a_frequent_class_gets_no_head_start() -> None:
    features, labels = clouds((1500, 100), (4,))
    (found,) = fit(features, labels, [0.1])
    test, _ = clouds((500, 500), (4,), seed=1)
    given = found.logits(test).argmax(axis=1)
    missed = (given[:500] != 0).mean(), (given[500:] != 1).mean()
    assert abs(missed[0] - missed[1]) < 0.1


def test_one_feature_that_never_changes_does_no_harm() -> None:
    features, labels = clouds((10, 10), (6,))
    features[0][:, 2] = 3.0
    (found,) = fit(features, labels, [0.1])
    assert all(np.isfinite(array).all() for array in found.tensors().values())
    assert (found.logits(features).argmax(axis=1) == labels).mean() > 0.9


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_the_temperature_is_found(true: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 5)) * 2
    chances = probabilities(logits, true)
    labels = np.array([rng.choice(5, p=row) for row in chances])
    assert fit_temperature(logits, labels) == pytest.approx(true, rel=0.1)


def test_a_handful_of_right_answers_is_no_certainty() -> None:
    """Laplace's rule: of n right answers out of n, the next is right with (n + 1) / (n + 2)."""
    logits = np.array([[9.0, -9.0], [-9.0, 9.0]] * 4)
    labels = np.array([0, 1] * 4)
    best = probabilities(logits, fit_temperature(logits, labels)).max(axis=1)
    assert best == pytest.approx(0.9, abs=0.01)


def test_cross_entropy_of_what_is_known() -> None:
    logits = np.log(np.array([[0.7, 0.2, 0.1]] * 1_000_000, np.float32))
    labels = np.zeros(1_000_000, np.int64)
    assert cross_entropy(logits, labels, 1.0) == pytest.approx(-np.log(0.7), abs=1e-4)


def test_the_threshold_spares_the_right_answers() -> None:
    confidence = np.linspace(0.2, 1, 1000)
    right = np.arange(1000) % 3 > 0
    for share in (0.02, 0.3):
        threshold = unknown_threshold(confidence, right, share)
        lost = (confidence[right] < threshold).mean()
        assert share - 0.01 <= lost <= share
    assert unknown_threshold(confidence, right, 0.0) == 0
    assert unknown_threshold(confidence, np.zeros(1000, np.bool_), 0.1) == 0
    assert unknown_threshold(np.array([0.7, 0.9]), np.array([True, True]), 0.05) == 0.7
    assert unknown_threshold(np.array([0.97, 0.99]), np.array([True, True]), 0.05) == 0.8


def test_what_is_promised_is_what_later_pictures_reach() -> None:
    """Over seeds; the fit of four folds out of five is the only handicap."""
    gaps = []
    for seed in range(3):
        features, labels = clouds((40, 40, 40), (6, 6), seed=seed, spread=1.6)
        taught = examples(features, labels)
        dealt = folds(labels, np.arange(len(labels)))
        asked = ask(taught, dealt)
        (found,) = fit(features, labels, [asked.strength])
        later, truth = clouds((400, 400, 400), (6, 6), seed=1000 + seed, spread=1.6)
        reached = (found.logits(later).argmax(axis=1) == truth).mean()
        gaps.append(reached - (asked.logits.argmax(axis=1) == labels).mean())
    assert abs(np.mean(gaps)) < 0.03


def test_a_repeated_picture_promises_nothing_where_moments_are_kept_together() -> None:
    """Noise that comes in groups of five equal pictures: a measure that tore them would cheer."""
    rng = np.random.default_rng(3)
    features = np.repeat(rng.normal(size=(40, 16)), 5, axis=0).astype(np.float32)
    labels = np.repeat(rng.permutation([0, 1] * 20), 5)
    order = np.argsort(labels, kind="stable")
    groups = np.repeat(np.arange(40), 5)[order]
    taught = examples((features[order],), labels[order])

    def promised(dealt: NDArray[np.int64]) -> float:
        return float((ask(taught, dealt).logits.argmax(axis=1) == taught.labels).mean())

    assert promised(folds(taught.labels, groups)) < 0.75
    assert promised(folds(taught.labels, np.arange(200))) > 0.85


def test_lost_parts_are_measured_on_fits_that_did_not_see_the_picture() -> None:
    features, labels = clouds((20, 20, 20), (4, 4, 4), spread=1.5)
    taught = examples(features, labels)
    dealt = folds(labels, np.arange(60))
    asked = ask(taught, dealt)
    right = np.zeros(3)
    for fold, fitted in enumerate(asked.fits):
        held_out = dealt == fold
        fused = Fused([values[held_out] for values in features], fitted.tensors(), labels[held_out])
        right += [held_out.sum() * fused.top1([part]) for part in range(3)]
    assert lose_each(taught, dealt, asked) == pytest.approx(right / 60)
    lost = lose_some(taught, dealt, asked)
    assert lost[0].mean == pytest.approx((asked.logits.argmax(axis=1) == labels).mean())
    assert lost[1].worst == pytest.approx(min(right) / 60)
    assert lost[1].worst_parts == (int(np.argmin(right)),)


def test_more_pictures_bring_more() -> None:
    features, labels = clouds((60, 60, 60), (8,), spread=2.0)
    curve = learning_curve(examples(features, labels), folds(labels, np.arange(180)), 0.1)
    assert [size for size, _ in curve] == [1, 2, 5, 10, 20]
    assert curve[-1][1] > curve[0][1] + 0.1


def test_a_large_set_is_measured_on_some_of_every_class() -> None:
    labels = np.repeat([0, 1, 2], [9000, 900, 3])
    groups = np.arange(9903) // 2
    chosen = evenly_of_each(labels, groups, 1000)
    counts = np.bincount(labels[chosen])
    assert 990 <= counts.sum() <= 1010
    assert counts[2] == 2
    assert len(np.unique(groups[chosen[labels[chosen] == 2]])) == 2
    assert evenly_of_each(labels, groups, 9903).tolist() == list(range(9903))
