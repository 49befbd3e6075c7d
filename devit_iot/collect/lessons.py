"""Fits a head to the marked pictures of an album; no board computes anything again."""

import time
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from devit_iot.bundle.head_files import HeadFiles, PartsOfHead, pack_head
from devit_iot.collect.album import Marked
from devit_iot.errors import DataError
from devit_iot.teach.examples import Examples
from devit_iot.teach.learn import learn
from devit_iot.teach.moments import GAP_S, check_enough, moments
from devit_iot.teach.result import TeachResult

_UNKNOWN_SHARE = 0.05


class Lesson(NamedTuple):
    """A fitted head that is not live yet.

    Attributes:
        files: the head.
        result: what it is worth; the names in ``wrong`` are numbers of pictures.
        others: marked pictures that were left out, because other parts saw them.
        seconds: time that it took.
    """

    files: HeadFiles
    result: TeachResult
    others: int
    seconds: float


def fit_head(name: str, marked: Marked, *, each: bool, key: bytes) -> Lesson:
    """Fit a head.

    Args:
        name: name of the head.
        marked: its pictures.
        each: whether each picture counts by itself, however soon it followed another one.
        key: private key in PEM that signs it; empty: it is not signed.

    Raises:
        DataError: too few pictures, or such that nothing can be measured.
        ConfigError: no head can be called so, the key is none, or scikit-learn is not installed.
    """
    begin = time.perf_counter()
    classes, labels = np.unique(np.array(marked.names), return_inverse=True)
    if len(classes) < 2:  # noqa: PLR2004 - nothing to tell apart
        raise DataError(
            f"all marked pictures are of class '{classes[0]}': mark some of another class too"
        )
    examples = Examples(
        classes=tuple(map(str, classes)),
        names=tuple(map(str, marked.ids)),
        labels=labels.astype(np.int64),
        taken=marked.at,
        features=marked.features,
        computed=0,
        unreadable=(),
        repeated=0,
    )
    groups = moments(examples, 0 if each else GAP_S)
    check_enough(examples, groups)
    learnt = learn(examples, groups, _UNKNOWN_SHARE)
    files = pack_head(
        PartsOfHead(marked.parts, tuple(values.shape[1] for values in marked.features)),
        name,
        classes=examples.classes,
        tensors=learnt.fitted.tensors(learnt.fit.temperature),
        unknown=learnt.result.unknown,
        fit=learnt.fit,
        provenance={"taught": datetime.now(UTC).isoformat(timespec="seconds"), "data": "collected"},
        key=key,
    )
    return Lesson(files, learnt.result, marked.others, time.perf_counter() - begin)
