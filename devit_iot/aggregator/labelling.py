"""The label of one request by one head, and what is done with labels."""

import time
from typing import NamedTuple

import msgspec

from devit_iot.aggregator.collector import Group, Request
from devit_iot.aggregator.heads import CameraHeads
from devit_iot.aggregator.states import States
from devit_iot.config.early import EarlyChoice
from devit_iot.engine.fusion import Fusion
from devit_iot.protocol.label import Label
from devit_iot.service.counters import Counters


class Labelling(NamedTuple):
    """How an aggregator goes about its labels.

    Attributes:
        early: which cameras get their label before all parts have answered.
        states: the steady states that labels move.
        counters: counters of everything, in which an observer may have a share.
    """

    early: EarlyChoice
    states: States
    counters: Counters


def make_label(
    request: Request, group: Group, heads: CameraHeads, fusion: Fusion, *, early: bool
) -> Label:
    """Fuse the features of a request.

    Args:
        request: the request.
        group: which of its features are fused.
        heads: the bundle's heads.
        fusion: the head that answers.
        early: whether parts were still to answer that would not change the label.
    """
    begin = time.monotonic()
    logits = fusion.logits({i: f.values for i, f in group.features.items()})
    top5 = tuple(fusion.rank(logits))
    answer = fusion.answer(top5[0])
    critical = group.features[group.last_part].timing
    parts_used = tuple(sorted(group.features))
    return Label(
        request_id=request.request_id.hex(),
        camera=request.camera,
        label=answer.label,
        class_index=answer.class_index,
        confidence=answer.confidence,
        top5=top5,
        parts_used=parts_used,
        parts=heads.parts,
        degraded=len(parts_used) < heads.parts and not early,
        latency_ms={
            "wait": round(critical.wait_us / 1e3, 3),
            "decode": round(critical.decode_us / 1e3, 3),
            "compute": round(critical.compute_us / 1e3, 3),
            "collect": round(1e3 * (group.last - request.first), 3),
            "fuse": round(1e3 * (time.monotonic() - begin), 3),
        },
        head=fusion.head,
        head_version=fusion.version,
        fingerprint=heads.fingerprint,
        early=True if early else msgspec.UNSET,
    )
