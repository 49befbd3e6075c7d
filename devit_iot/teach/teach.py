"""From labelled pictures to a head that is live, and to what it is worth."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from devit_iot.bundle.head import check_head_name
from devit_iot.bundle.head_writing import write_head
from devit_iot.bundle.reading import Bundle
from devit_iot.datasets.source import ImageSource
from devit_iot.errors import ConfigError, DataError
from devit_iot.evaluation.local import LocalFleet
from devit_iot.evaluation.lost_parts import Fused, LostParts
from devit_iot.protocol.label import DEFAULT_HEAD
from devit_iot.teach.cache import FeatureCache
from devit_iot.teach.examples import Examples, read_examples
from devit_iot.teach.fit import Fitted, require_solver
from devit_iot.teach.learn import learn
from devit_iot.teach.moments import check_classes, check_enough, moments
from devit_iot.teach.result import TeachResult, TestResult


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
    known = learn(examples, groups, options.unknown_share)
    head = write_head(
        bundle,
        name,
        classes=examples.classes,
        tensors=known.fitted.tensors(known.fit.temperature),
        unknown=known.result.unknown,
        fit=known.fit,
        provenance=options.provenance,
        key=options.key,
        crop=fleet.crop,
    )
    result = msgspec.structs.replace(
        known.result,
        bundle=bundle.manifest.name,
        head=name,
        version=head.version,
        test=None if test is None else _tested(test, known.fitted),
        seconds=msgspec.structs.replace(known.result.seconds, features=read - begin),
    )
    return result, examples.unreadable


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
