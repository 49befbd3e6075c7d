"""What answering before all parts have answered saves, and what it costs."""

from collections.abc import Sequence
from itertools import permutations

import msgspec
import numpy as np
from numpy.typing import NDArray

from devit_iot.engine.sureness import Sureness
from devit_iot.evaluation.asking import Evidence, ask

MAX_PARTS_OF_ORDERS = 4
"""Of larger fleets two orders are measured: the calibration's, and the same one backwards."""


class OrderResult(msgspec.Struct, frozen=True):
    """One order in which parts answer. All numbers but ``order`` and ``cpu_ms`` are fractions.

    Attributes:
        order: every part once.
        share: part-inferences that the labels took, of those of the whole fleet.
        macs: multiply-accumulates that they took, of those of the whole fleet.
        cpu_ms: CPU time that the engines of these parts take for a label, milliseconds, from the
            mean of each part.
        early: labels that were given before all parts had answered.
        agreement: share of these labels that equal the whole fleet's; 1 where there are none.
        agreement_of_all: share of all labels that equal the whole fleet's.
        top1: accuracy.
    """

    order: tuple[int, ...]
    share: float
    macs: float
    cpu_ms: float
    early: float
    agreement: float
    agreement_of_all: float
    top1: float


class EarlyReport(msgspec.Struct, frozen=True):
    """What ``devit evaluate --confidence`` adds.

    Attributes:
        confidence: how probable it is at least that an early label is the whole fleet's.
        orders: results by order, that of the calibration first.
    """

    confidence: float
    orders: tuple[OrderResult, ...]


def measure_early(
    found: Evidence,
    judge: Sureness,
    labels: NDArray[np.int64],
    macs: Sequence[int],
    cpu_ms: Sequence[float],
    confidence: float,
) -> EarlyReport:
    """Ask part after part, in every order of up to four parts.

    Args:
        found: what the parts say of the images.
        judge: the head's calibration.
        labels: int64[images].
        macs: multiply-accumulates of each part.
        cpu_ms: mean CPU time of each part's engine for one image, milliseconds.
        confidence: probability from which on an answer is given.
    """
    parts = len(macs)
    first = judge.order
    orders = permutations(range(parts)) if parts <= MAX_PARTS_OF_ORDERS else (first[::-1],)
    chosen = (first, *(order for order in orders if order != first))
    whole = found.whole

    def result(order: tuple[int, ...]) -> OrderResult:
        asked = ask(found, judge, order, confidence)
        early, same = asked.used < parts, asked.answers == whole
        work = np.cumsum([macs[part] for part in order])
        spent = np.cumsum([cpu_ms[part] for part in order])
        return OrderResult(
            order,
            share=float(asked.used.mean()) / parts,
            macs=float(work[asked.used - 1].mean() / work[-1]),
            cpu_ms=float(spent[asked.used - 1].mean()),
            early=float(early.mean()),
            agreement=float(same[early].mean()) if early.any() else 1.0,
            agreement_of_all=float(same.mean()),
            top1=float((asked.answers == labels).mean()),
        )

    return EarlyReport(confidence, tuple(map(result, chosen)))
