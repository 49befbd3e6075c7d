"""From labelled pictures to a head that is live, and to what it is worth."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.head import Fit, check_head_name
from devit_iot.bundle.head_writing import write_head
from devit_iot.bundle.reading import Bundle
from devit_iot.datasets.source import ImageSource
from devit_iot.errors import ConfigError, DataError
from devit_iot.evaluation.local import LocalFleet
from devit_iot.evaluation.lost_parts import Fused, LostParts, calibration_error
from devit_iot.protocol.label import DEFAULT_HEAD
from devit_iot.teach.cache import FeatureCache
from devit_iot.teach.confidence import probabilities, unknown_threshold
from devit_iot.teach.examples import Examples, read_examples
from devit_iot.teach.fit import METHOD, Fitted, require_solver
from devit_iot.teach.measure import (
    Asked,
    ask,
    evenly_of_each,
    fit_on,
    learning_curve,
    lose_each,
    lose_some,
)
from devit_iot.teach.moments import FOLDS, check_classes, check_enough, folds, moments
from devit_iot.teach.result import (
    ClassResult,
    CurvePoint,
    Seconds,
    TeachResult,
    TestResult,
    Wrong,
)

MOST_MEASURED = 20_000
"""Pictures that the accuracy is measured on; the head itself is fitted on all of them."""


class Options(NamedTuple):
    """How to teach.

    Attributes:
        gap_s: see :func:`devit_iot.teach.moments.moments`.
        unknown_share: fraction of the right answers that may become ``unknown``.
        key: private key in PEM that signs the head; empty: it is not signed.
        provenance: for people.
    """

    gap_s: float
    unknown_share: float
    key: bytes
    provenance: Mapping[str, str]


class Data(NamedTuple):
    """The pictures.

    Attributes:
        train: pictures that the head is fitted on.
        test: pictures that it is also measured on; None for data without a test split.
    """

    train: ImageSource
    test: ImageSource | None


Shown = Callable[[range], Iterable[int]]


def teach(
    bundle: Bundle,
    name: str,
    data: Data,
    *,
    fleet: LocalFleet,
    cache: FeatureCache,
    shown: Shown,
    options: Options,
) -> tuple[TeachResult, tuple[str, ...]]:
    """Fit the head ``name`` on a fleet's features, write it beside the bundle and make it live.

    Args:
        bundle: bundle whose parts make the features.
        name: name of the head.
        data: labelled pictures.
        fleet: the bundle's fleet, in this process; the head looks at its crop.
        cache: cache of the fleet's features.
        shown: hands on indices while it shows progress.
        options: how.

    Returns:
        What it is worth, and one line for each picture that could not be read.

    Raises:
        ConfigError: no head can be called so, or scikit-learn is not installed.
        DataError: too few pictures, or such that nothing can be measured.
        BundleError: the head cannot be written; what was live before stays.
    """
    if check_head_name(name) == DEFAULT_HEAD:
        raise ConfigError(f"'{DEFAULT_HEAD}' is the bundle's own fusion; choose another name")
    require_solver()  # before features are computed for minutes
    check_classes(data.train)
    begin = time.perf_counter()
    examples = read_examples(fleet, data.train, cache, shown)
    groups = moments(examples, options.gap_s)
    check_enough(examples, groups)
    test = None if data.test is None else _test_examples(fleet, data, cache, shown)
    read = time.perf_counter()
    some = evenly_of_each(examples.labels, groups, MOST_MEASURED)
    measured, dealt = examples.subset(some), folds(examples.labels[some], groups[some])
    asked = ask(measured, dealt)
    outcome = _outcome(measured, asked, options.unknown_share)
    each_lost = lose_each(measured, dealt, asked)
    lost = lose_some(measured, dealt, asked)
    curve = learning_curve(measured, dealt, asked.strength)
    known = time.perf_counter()
    (fitted,) = fit_on(examples, np.arange(len(examples.labels)), [asked.strength])
    done = time.perf_counter()
    counts = np.bincount(examples.labels)
    head = write_head(
        bundle,
        name,
        classes=examples.classes,
        tensors=fitted.tensors(asked.temperature),
        unknown=outcome.unknown,
        fit=Fit(
            METHOD,
            tuple(counts.tolist()),
            asked.strength,
            asked.temperature,
            len(some),
            outcome.top1,
        ),
        provenance=options.provenance,
        key=options.key,
        crop=fleet.crop,
    )
    result = TeachResult(
        bundle=bundle.manifest.name,
        head=name,
        version=head.version,
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
        test=None if test is None else _tested(test, fitted),
        seconds=Seconds(read - begin, known - read, done - known),
    )
    return result, examples.unreadable


class _Outcome(NamedTuple):
    unknown: float
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


def _test_examples(fleet: LocalFleet, data: Data, cache: FeatureCache, shown: Shown) -> Examples:
    """The test split's pictures, labelled as the training's."""
    assert data.test is not None  # noqa: S101 - the caller looked
    strangers = sorted(set(data.test.classes) - set(data.train.classes))
    if strangers:
        raise DataError(
            f"{data.test.origin} has the class '{strangers[0]}', {data.train.origin} has not: "
            "remove it from the test split or add training pictures of it"
        )
    examples = read_examples(fleet, data.test, cache, shown)
    label = [data.train.classes.index(name) for name in examples.classes]
    return examples._replace(labels=np.array(label, np.int64)[examples.labels])


def _tested(test: Examples, fitted: Fitted) -> TestResult:
    fused = Fused(test.features, fitted.tensors(), test.labels)
    lost: tuple[LostParts, ...] = tuple(fused.lose(count) for count in fused.counts()[:4])
    return TestResult(len(test.labels), fused.top1([]), lost)
