"""What a head will be worth: every picture is asked of a fit that saw neither it nor its moment."""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from devit_iot.evaluation.lost_parts import Fused, LostParts
from devit_iot.teach.confidence import cross_entropy, fit_temperature
from devit_iot.teach.examples import Examples
from devit_iot.teach.fit import STRENGTHS, Fitted, fit
from devit_iot.teach.moments import FOLDS

SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Pictures of each class at the points of a learning curve."""

_CURVE_FOLDS = 3
_MOST_LOST = 3
_MOST_CHOICES = 500


class Asked(NamedTuple):
    """Answers of fits about pictures that they did not see.

    Attributes:
        logits: float64[count, classes].
        strength: strength with which all pictures are fitted in the end.
        temperature: temperature with which all pictures are fitted in the end.
        fits: fit by fold, with the strength that the other folds chose.
    """

    logits: NDArray[np.float64]
    strength: float
    temperature: float
    fits: tuple[Fitted, ...]


def evenly_of_each(
    labels: NDArray[np.int64], groups: NDArray[np.int64], most: int
) -> NDArray[np.int64]:
    """Ascending places of at most ``most`` pictures, of every class about the same share.

    Every class keeps two at least, from its first and its last moment, so the result may be longer
    where classes are very many.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        members = members[np.argsort(groups[members], kind="stable")]
        count = min(len(members), max(2, round(most * len(members) / len(labels))))
        chosen.append(members[np.linspace(0, len(members) - 1, count).round().astype(np.int64)])
    return np.sort(np.concatenate(chosen))


def ask(examples: Examples, dealt: NDArray[np.int64]) -> Asked:
    """Fit on all folds but one, ask about that one, in turn; choose the strength.

    The strength has the least cross-entropy at its own temperature. A fold is answered with the
    strength that the other folds choose, so that no answer was chosen by its own picture.

    Args:
        examples: each content once.
        dealt: int64[count], what :func:`devit_iot.teach.moments.folds` returned.
    """
    labels, classes = examples.labels, len(examples.classes)
    logits = np.empty((len(STRENGTHS), len(labels), classes))
    fits: list[list[Fitted]] = []
    for fold in range(FOLDS):
        fits.append(fit_on(examples, np.flatnonzero(dealt != fold), STRENGTHS))
        asked = dealt == fold
        held_out = [values[asked] for values in examples.features]
        for place, fitted in enumerate(fits[-1]):
            logits[place, asked] = fitted.logits(held_out)
    answers = np.empty((len(labels), classes))
    chosen = []
    for fold in range(FOLDS):
        asked = dealt == fold
        best = _best(logits[:, ~asked], labels[~asked])
        answers[asked] = logits[best, asked]
        chosen.append(fits[fold][best])
    best = _best(logits, labels)
    return Asked(answers, STRENGTHS[best], fit_temperature(logits[best], labels), tuple(chosen))


def fit_on(
    examples: Examples, indices: NDArray[np.int64], strengths: Sequence[float]
) -> list[Fitted]:
    """Fit on the pictures at ``indices``."""
    features = [values[indices] for values in examples.features]
    return fit(features, examples.labels[indices], strengths)


def lose_each(examples: Examples, dealt: NDArray[np.int64], asked: Asked) -> tuple[float, ...]:
    """Accuracy with each part lost alone, by part; empty for a fleet of one."""
    parts = len(examples.features)
    if parts == 1:
        return ()
    return tuple(_top1(examples, dealt, asked.fits, [(part,) for part in range(parts)]))


def lose_some(examples: Examples, dealt: NDArray[np.int64], asked: Asked) -> tuple[LostParts, ...]:
    """Accuracy with 0 to 3 parts lost, over all choices of them, while there are few choices."""
    parts = len(examples.features)
    found = []
    for count in range(min(parts, _MOST_LOST + 1)):
        if math.comb(parts, count) > _MOST_CHOICES:
            break
        choices = list(combinations(range(parts), count))
        top1 = _top1(examples, dealt, asked.fits, choices)
        worst = int(np.argmin(top1))
        found.append(LostParts(count, float(np.mean(top1)), top1[worst], choices[worst]))
    return tuple(found)


def learning_curve(
    examples: Examples, dealt: NDArray[np.int64], strength: float
) -> list[tuple[int, float]]:
    """Accuracy over the number of pictures of each class, ascending.

    Fits on random pictures of all folds but one are asked about that one; a class with fewer
    pictures gives all that it has.
    """
    rng = np.random.default_rng(0)
    points = []
    whole = len(examples.labels) / len(examples.classes) * (FOLDS - 1) / FOLDS
    for size in (size for size in SIZES if size < round(whole)):
        right = asked = 0
        for fold in range(_CURVE_FOLDS):
            held_out = np.flatnonzero(dealt == fold)
            shuffled = rng.permutation(np.flatnonzero(dealt != fold))
            chosen = np.concatenate(
                [
                    shuffled[examples.labels[shuffled] == label][:size]
                    for label in range(len(examples.classes))
                ]
            )
            (fitted,) = fit_on(examples, chosen, [strength])
            logits = fitted.logits([values[held_out] for values in examples.features])
            right += int((logits.argmax(axis=1) == examples.labels[held_out]).sum())
            asked += len(held_out)
        points.append((size, right / asked))
    return points


def _best(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> int:
    """The place of the strength with the least cross-entropy at its own temperature."""
    losses = [cross_entropy(found, labels, fit_temperature(found, labels)) for found in logits]
    return int(np.argmin(losses))


def _top1(
    examples: Examples,
    dealt: NDArray[np.int64],
    fits: Sequence[Fitted],
    choices: Sequence[tuple[int, ...]],
) -> list[float]:
    """Accuracy for each choice of lost parts, every fold answered by its own fit."""
    right = np.zeros(len(choices))
    for fold, fitted in enumerate(fits):
        held_out = np.flatnonzero(dealt == fold)
        if len(held_out):
            features = [values[held_out] for values in examples.features]
            fused = Fused(features, fitted.tensors(), examples.labels[held_out])
            right += [len(held_out) * fused.top1(lost) for lost in choices]
    return [float(value) for value in right / len(dealt)]
