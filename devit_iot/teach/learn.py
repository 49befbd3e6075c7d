"""From the features of labelled pictures to a fitted head, and to what it is worth."""

import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.head import Fit
from devit_iot.evaluation.lost_parts import calibration_error
from devit_iot.teach.confidence import probabilities, unknown_threshold
from devit_iot.teach.examples import Examples
from devit_iot.teach.fit import METHOD, Fitted
from devit_iot.teach.interval import accuracy_interval
from devit_iot.teach.measure import (
    Asked,
    ask,
    evenly_of_each,
    fit_on,
    learning_curve,
    lose_each,
    lose_some,
)
from devit_iot.teach.moments import FOLDS, folds
from devit_iot.teach.result import ClassResult, CurvePoint, Seconds, TeachResult, Wrong

MOST_MEASURED = 20_000
"""Pictures that the accuracy is measured on; the head itself is fitted on all of them."""


class Learnt(NamedTuple):
    """A head that is not written yet.

    Attributes:
        fitted: the fit on all pictures; its scores are not divided by the temperature.
        fit: how it was fitted.
        result: what it is worth; names of bundle, head and version are empty.
    """

    fitted: Fitted
    fit: Fit
    result: TeachResult


def learn(examples: Examples, groups: NDArray[np.int64], unknown_share: float) -> Learnt:
    """Fit a head, and measure it on pictures that no fit saw.

    Args:
        examples: the pictures, of every class two moments at least.
        groups: int64[count], what :func:`devit_iot.teach.moments.moments` returned.
        unknown_share: fraction of the right answers that may become ``unknown``.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    read = time.perf_counter()
    some = evenly_of_each(examples.labels, groups, MOST_MEASURED)
    measured, dealt = examples.subset(some), folds(examples.labels[some], groups[some])
    asked = ask(measured, dealt)
    outcome = _outcome(measured, asked, unknown_share)
    each_lost = lose_each(measured, dealt, asked)
    lost = lose_some(measured, dealt, asked)
    curve = learning_curve(measured, dealt, asked.strength)
    known = time.perf_counter()
    (fitted,) = fit_on(examples, np.arange(len(examples.labels)), [asked.strength])
    done = time.perf_counter()
    counts = np.bincount(examples.labels)
    fit = Fit(
        METHOD,
        tuple(counts.tolist()),
        asked.strength,
        asked.temperature,
        len(some),
        outcome.top1,
    )
    result = TeachResult(
        bundle="",
        head="",
        version="",
        images=len(examples.labels),
        moments=len(np.unique(groups)),
        unreadable=len(examples.unreadable),
        repeated=examples.repeated,
        computed=examples.computed,
        strength=asked.strength,
        temperature=asked.temperature,
        unknown=outcome.unknown,
        measured=len(some),
        top1=outcome.top1,
        interval=accuracy_interval(outcome.right, groups[some], folds=FOLDS),
        ece=outcome.ece,
        answered=outcome.answered,
        answered_top1=outcome.answered_top1,
        classes=_classes(examples, groups, outcome.confusion),
        confusion=tuple(map(tuple, outcome.confusion.tolist())),
        each_lost=each_lost,
        lost=lost,
        curve=(
            *(CurvePoint(size, top1) for size, top1 in curve),
            CurvePoint(round(len(some) / len(counts) * (FOLDS - 1) / FOLDS), outcome.top1),
        ),
        wrong=outcome.wrong,
        test=None,
        seconds=Seconds(0.0, known - read, done - known),
    )
    return Learnt(fitted, fit, result)


class _Outcome(NamedTuple):
    unknown: float
    right: NDArray[np.bool_]
    top1: float
    ece: float
    answered: float
    answered_top1: float
    confusion: NDArray[np.int64]
    wrong: tuple[Wrong, ...]


def _outcome(examples: Examples, asked: Asked, unknown_share: float) -> _Outcome:
    found = probabilities(asked.logits, asked.temperature)
    best, confidence = found.argmax(axis=1), found.max(axis=1)
    right = best == examples.labels
    unknown = unknown_threshold(confidence, right, unknown_share)
    answered = confidence >= unknown
    classes = len(examples.classes)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (examples.labels, best), 1)
    wrong = np.flatnonzero(~right)
    return _Outcome(
        unknown,
        right,
        float(right.mean()),
        calibration_error(confidence, right),
        float(answered.mean()),
        float(right[answered].mean()) if answered.any() else 0.0,
        confusion,
        tuple(
            Wrong(examples.names[i], examples.classes[best[i]], float(confidence[i]))
            for i in wrong[np.argsort(-confidence[wrong], kind="stable")]
        ),
    )


def _classes(
    examples: Examples, groups: NDArray[np.int64], confusion: NDArray[np.int64]
) -> tuple[ClassResult, ...]:
    true, given = confusion.sum(axis=1), np.maximum(confusion.sum(axis=0), 1)
    return tuple(
        ClassResult(
            name,
            int((examples.labels == label).sum()),
            len(np.unique(groups[examples.labels == label])),
            float(confusion[label, label] / true[label]),
            float(confusion[label, label] / given[label]),
        )
        for label, name in enumerate(examples.classes)
    )
