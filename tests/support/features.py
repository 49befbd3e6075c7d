"""What the nodes of a small fleet say."""

import numpy as np

from devit_iot.bundle.reading import Bundle
from devit_iot.protocol.feature import Feature, Timing
from devit_iot.protocol.status import NodeStatus
from devit_iot.transport.memory import MemoryBroker
from tests.support.fleets import wait_until
from tests.support.running import (
    TOPICS,
)

PARTS = 3


def make_feature(bundle: Bundle, part: int, request: int = 0) -> Feature:
    rng = np.random.default_rng((part, request))
    return Feature(
        request_id=request.to_bytes(16, "little"),
        fingerprint=bundle.fingerprint,
        part=part,
        parts=PARTS,
        camera="door",
        received_ms=0,
        timing=Timing(1000, 2000, 3000 + part),
        values=rng.standard_normal(bundle.part(part).spec.feature_dim).astype(np.float32),
    )


def announce(broker: MemoryBroker, bundle: Bundle, part: int, state: str) -> None:
    status = NodeStatus(
        state="online" if state == "online" else "offline",
        node=f"node-{part}",
        part=part,
        parts=PARTS,
        fingerprint=bundle.manifest.fingerprint,
    )
    wait_until(lambda: TOPICS.aggregator_status(0) in broker.retained)
    broker.publish(TOPICS.node_status(status.node), status.encode(), retain=True)
