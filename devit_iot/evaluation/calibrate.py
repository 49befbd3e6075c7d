"""Fit how sure a head is after some parts, on images that its parts did not learn from."""

from collections.abc import Sequence
from itertools import combinations, permutations, product

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.calibration import FORMAT, VERSION, Calibration, Stage
from devit_iot.bundle.head import Head
from devit_iot.engine.sureness import Sureness, compare, log_odds, scatter
from devit_iot.errors import DataError
from devit_iot.evaluation.asking import Evidence, ask

MIN_IMAGES = 50
"""Fewer held-out images say nothing about one answer in twenty."""

IMAGES_OF_A_CHOICE = 1000
"""Held-out images from which on each choice of parts is fitted by itself."""

MAX_PARTS_OF_CHOICES = 5
"""Of larger fleets only the choices along the order are fitted by themselves: there are many."""

CONFIDENCE = 0.95
"""At which the order of the parts is chosen."""

SCATTER_SHARES = (0.0, 0.5, 0.9)
"""How much of the temperature is the scatter's, in the mean of the images: one is chosen."""

_TEMPERATURES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.4)
_STEPS = 30
_RIDGE = 1e-3


def calibrate(found: Evidence, head: Head, parts_fingerprint: str) -> Calibration:
    """Fit every stage, and choose the order in which the fewest parts make the labels.

    Where there are images enough, each choice of parts has a stage of its own. Otherwise, and for
    all other choices in larger fleets, there is one stage for each number of parts.

    Args:
        found: evidence on held-out images.
        head: head that answers.
        parts_fingerprint: fingerprint of the bundle's parts, hex.

    Raises:
        DataError: there is one part, or there are too few images.
    """
    parts, images = len(found.terms), len(found.terms[0])
    if parts == 1:
        raise DataError("the bundle has one part: no answer can come before it, nothing to fit")
    if images < MIN_IMAGES:
        raise DataError(f"{images} images are too few to calibrate with; give {MIN_IMAGES} or more")
    counts = range(1, parts)
    pooled = tuple(_stage(found, _some(parts, count), named=False) for count in counts)

    def made(order: Sequence[int], stages: tuple[Stage, ...]) -> Calibration:
        return Calibration(
            *(FORMAT, VERSION, head.name, head.version, parts_fingerprint),
            *(tuple(order), images, stages),
        )

    first = made(range(parts), pooled)
    if images < IMAGES_OF_A_CHOICE:
        return made(best_order(found, first), pooled)
    if parts <= MAX_PARTS_OF_CHOICES:
        choices = [choice for count in counts for choice in combinations(range(parts), count)]
        stages = (*(_stage(found, [choice], named=True) for choice in choices), *pooled)
        return made(best_order(found, made(range(parts), stages)), stages)
    order = best_order(found, first)
    nested = [tuple(sorted(order[:count])) for count in counts]
    return made(order, (*(_stage(found, [choice], named=True) for choice in nested), *pooled))


def _some(parts: int, count: int) -> list[tuple[int, ...]]:
    """Choices of ``count`` parts, at most a dozen, in which each part comes about equally often."""
    every = list(combinations(range(parts), count)) if parts <= MAX_PARTS_OF_CHOICES else []
    turns = [tuple(sorted((at + step) % parts for step in range(count))) for at in range(parts)]
    return every or turns


def _stage(found: Evidence, choices: Sequence[tuple[int, ...]], *, named: bool) -> Stage:
    """Fit one stage to some choices of equally many parts, taken together."""
    whole = found.whole
    gain = float(np.mean([_gain(found, choice) for choice in choices]))
    compared = [compare(found.scores(choice), found.prior) for choice in choices]
    stays = np.concatenate([one.best[-1] == whole for one in compared])
    scatters = [scatter(one) for one in compared]
    usual = float(np.mean(scatters))
    best, least = None, np.inf
    for mean, share in product(_TEMPERATURES, SCATTER_SHARES if usual else (0.0,)):
        fixed, each = mean * (1 - share), mean * share / (usual or 1.0)
        odds = np.concatenate(
            [
                log_odds(one, fixed + each * apart, gain)
                for one, apart in zip(compared, scatters, strict=True)
            ]
        )
        slope, offset, cost = _logistic(odds, stays)
        if cost < least:
            best, least = Stage(0, (), fixed, gain, slope, offset, each), cost
    if best is None:
        raise DataError("the features hold numbers that cannot be; calibrate with other images")
    return Stage(
        len(choices[0]),
        choices[0] if named else (),
        *(best.temperature, best.gain, best.slope, best.offset, best.scatter),
    )


def _gain(found: Evidence, choice: tuple[int, ...]) -> float:
    """By least squares: the whole fleet's evidence, as a multiple of that of some parts."""
    own = found.scores(choice) - found.prior
    whole = found.scores(range(len(found.terms))) - found.prior
    own, whole = (one - one.mean(axis=1, keepdims=True) for one in (own, whole))
    return float(max((own * whole).sum() / max((own * own).sum(), 1e-12), 1.0))


def _logistic(odds: NDArray[np.float64], stays: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Slope, offset and cost of the best logistic regression on one number, by Newton's method.

    Its targets are Platt's (1999, sec. 2.2): a few images that all stay make nothing certain.
    """
    hits, count = int(stays.sum()), len(stays)
    wanted = np.where(stays, (hits + 1) / (hits + 2), 1 / (count - hits + 2))
    inputs = np.stack([odds, np.ones(count)], axis=1)
    weights = np.array([1.0, 0.0])
    for _ in range(_STEPS):
        value = 1 / (1 + np.exp(-np.clip(inputs @ weights, -50, 50)))
        gradient = inputs.T @ (value - wanted) / count + _RIDGE * (weights - [1.0, 0.0])
        curvature = (inputs.T * (value * (1 - value))) @ inputs / count + _RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
    weights[0] = max(weights[0], 0.0)
    logits = inputs @ weights
    cost = float((np.logaddexp(0, logits) - wanted * logits).mean())
    return float(weights[0]), float(weights[1]), cost


def best_order(found: Evidence, calibration: Calibration) -> tuple[int, ...]:
    """The order of parts that answers with the fewest of them; of larger fleets, step by step."""
    parts = len(found.terms)
    judge = Sureness(calibration, found.prior)
    if parts <= MAX_PARTS_OF_CHOICES:
        orders = permutations(range(parts))
        return min(orders, key=lambda o: ask(found, judge, o, CONFIDENCE).used.sum())
    order: tuple[int, ...] = ()
    unsure = np.ones(len(found.terms[0]), np.bool_)
    while len(order) < parts - 1:
        options = [(*order, part) for part in range(parts) if part not in order]
        left = [unsure & (judge.of(found.scores(o), o) < CONFIDENCE) for o in options]
        fewest = min(range(len(options)), key=lambda option: left[option].sum())
        order, unsure = options[fewest], left[fewest]
    return (*order, *(part for part in range(parts) if part not in order))
