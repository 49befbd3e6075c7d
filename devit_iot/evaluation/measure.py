"""Run a whole fleet over labelled images once, and sum up what that says."""

import time
from collections.abc import Callable, Iterable
from statistics import fmean, median
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.calibration import read_calibration
from devit_iot.bundle.head import read_head
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import macs
from devit_iot.datasets.source import ImageSource
from devit_iot.energy.meter import Energy
from devit_iot.engine.sureness import Sureness
from devit_iot.errors import DataError, ImageError
from devit_iot.evaluation.asking import evidence
from devit_iot.evaluation.early import EarlyReport, measure_early
from devit_iot.evaluation.local import LocalFleet, PartFeature
from devit_iot.evaluation.lost_parts import Fused, LostParts, calibration_error
from devit_iot.protocol.status import EnergySource


class PartCost(msgspec.Struct, frozen=True):
    """What one part costs.

    Attributes:
        part: the part's index.
        ms: median time of its engine for one image, decoding not counted.
        cpu_ms: mean CPU time of this process for one image in its engine, all threads together.
        macs: multiply-accumulates of one image.
        bytes: size of its weights on disk.
    """

    part: int
    ms: float
    cpu_ms: float
    macs: int
    bytes: int


class EvaluationReport(msgspec.Struct, frozen=True):
    """What ``devit evaluate --json`` prints. Accuracies are fractions.

    Attributes:
        images: number of images that were read and classified.
        unreadable: number of images that were not read; they count nowhere else.
        top1: share of images whose best class is the true one.
        top5: share whose true class is among the best five.
        ece: expected calibration error of the published confidence, 15 bins.
        lost: accuracies with parts lost.
        parts: cost of each part.
        fusion_ms: median time to fuse and rank one image.
        engine: what the engine chose on this machine.
        cpu_ms: mean CPU time of this process for one image, decoded and computed by all parts,
            all threads together.
        energy_j: what the machine took for one image of the pass, joules; 0 without a source. All
            that the machine did meanwhile is in it, unless its watts are stated.
        energy_from: source of the joules, as in a node's status; empty: there is none.
        early: what answering before all parts have answered saves; left out where nobody asked.
    """

    images: int
    unreadable: int
    top1: float
    top5: float
    ece: float
    lost: tuple[LostParts, ...]
    parts: tuple[PartCost, ...]
    fusion_ms: float
    engine: str
    cpu_ms: float
    energy_j: float
    energy_from: EnergySource
    early: EarlyReport | msgspec.UnsetType = msgspec.UNSET


class Pass(NamedTuple):
    """One pass of a fleet over a source.

    Attributes:
        rows: features of the images that could be read, by part.
        read: int64, their indices in the source.
        unreadable: one line for each image that could not be read.
        cpu_seconds: CPU time of this process for all images, decoded and computed.
    """

    rows: list[list[PartFeature]]
    read: NDArray[np.int64]
    unreadable: list[str]
    cpu_seconds: float


def run_fleet(
    fleet: LocalFleet, source: ImageSource, shown: Callable[[range], Iterable[int]]
) -> Pass:
    """Compute every part's feature of every image.

    Args:
        fleet: all parts of the bundle.
        source: the images.
        shown: hands on the indices while it shows progress.

    Raises:
        DataError: not one image could be read.
    """
    rows, read, unreadable, spent = [], [], [], 0.0
    for index in shown(range(len(source))):
        try:
            payload = source.sample(index).payload
            begin = time.process_time()
            rows.append(fleet.features(payload))
            spent += time.process_time() - begin
            read.append(index)
        except (ImageError, DataError) as error:
            unreadable.append(f"{source.names[index]}: {error}")
    if not rows:
        raise DataError(
            f"no image of {source.origin} could be read, the first one is {unreadable[0]}"
        )
    return Pass(rows, np.array(read, np.int64), unreadable, spent)


def measure(
    bundle: Bundle,
    fleet: LocalFleet,
    done: Pass,
    labels: NDArray[np.int64],
    lose: int | None,
    confidence: float | None = None,
    *,
    energy: Energy,
) -> EvaluationReport:
    """Fuse the features of a pass, whole and with parts lost.

    Args:
        bundle: the fleet's bundle.
        fleet: the fleet, which fuses as an aggregator does.
        done: the pass.
        labels: labels of the images that were read, int64[images], in the order of the head's
            classes.
        lose: the only number of lost parts to try; None for 0 to all but one.
        confidence: how probable an early label is to be the whole fleet's; None: none is early.
        energy: what the machine took during the pass.

    Raises:
        DataError: ``lose`` parts can be lost in too many ways to try them all.
        BundleError: the head has no calibration, and a ``confidence`` was given.
    """
    entries = bundle.manifest.parts
    features = [np.stack([row[part].values for row in done.rows]) for part in range(len(entries))]
    head = read_head(bundle, fleet.fusion.head)
    fused = Fused(features, head.tensors, labels)
    cpu_ms = [
        1000 * fmean(row[part].cpu_seconds for row in done.rows) for part in range(len(entries))
    ]
    early: EarlyReport | msgspec.UnsetType = msgspec.UNSET
    if confidence is not None:
        found = evidence(features, head)
        judge = Sureness(read_calibration(bundle, head), found.prior)
        costs = [macs(entry.spec) for entry in entries]
        early = measure_early(found, judge, labels, costs, cpu_ms, confidence)
    hits, confidences, seconds = [], [], []
    for row in done.rows:
        begin = time.perf_counter()
        best = fleet.fusion.rank(
            fleet.fusion.logits({part: found.values for part, found in enumerate(row)})
        )
        seconds.append(time.perf_counter() - begin)
        hits.append([entry.class_index for entry in best])
        confidences.append(best[0].confidence)
    right = np.array(hits) == labels[:, None]
    return EvaluationReport(
        images=len(done.rows),
        unreadable=len(done.unreadable),
        top1=float(right[:, 0].mean()),
        top5=float(right.any(axis=1).mean()),
        ece=calibration_error(np.array(confidences), right[:, 0]),
        lost=tuple(fused.lose(count) for count in (fused.counts() if lose is None else [lose])),
        parts=tuple(
            PartCost(
                part=part,
                ms=1000 * median(row[part].seconds for row in done.rows),
                cpu_ms=cpu_ms[part],
                macs=macs(entry.spec),
                bytes=entry.weights.size,
            )
            for part, entry in enumerate(entries)
        ),
        fusion_ms=1000 * median(seconds),
        engine=fleet.detail,
        cpu_ms=1000 * done.cpu_seconds / len(done.rows),
        energy_j=energy.joules / len(done.rows),
        energy_from=energy.source,
        early=early,
    )
