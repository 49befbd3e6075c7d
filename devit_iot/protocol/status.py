"""What nodes and aggregators say of themselves. Normative: docs/protocol.md."""

from typing import Literal, Self

import msgspec

from devit_iot.protocol.board import BoardProfile
from devit_iot.protocol.json_message import JsonMessage, PartCount

State = Literal["online", "offline"]
EnergySource = Literal["", "rapl", "pmic", "stated"]

HEARTBEAT_S = 15.0
"""A service says its status again after so long, also if nothing changed."""

STATUS_LIFETIME_S = 90
"""For so long an ``online`` counts: six heartbeats, since a node that computes for a minute cannot
say more often that it lives. Later the service is silent: not alive to aggregators, shown as such,
unavailable in Home Assistant."""


class _Status(JsonMessage, frozen=True):
    """What both statuses share.

    Attributes:
        state: ``offline`` before a clean disconnect and as the last will.
        fingerprint: the bundle's fingerprint, hex.
        parts: how many parts the bundle has.
        version: version of devit-iot.
        uptime_s: seconds since the service started.
        unsent: messages dropped because the broker was away too long.
        refused: inputs refused, by reason.
        problem: what is wrong now, in words; empty if nothing is.
    """

    state: State
    fingerprint: str
    parts: PartCount
    version: str = ""
    uptime_s: float = 0.0
    unsent: int = 0
    refused: dict[str, int] = {}  # noqa: RUF012 - msgspec copies it
    problem: str = ""

    def gone(self) -> Self:
        """The last will."""
        return msgspec.structs.replace(self, state="offline")


class NodeStatus(_Status, frozen=True, kw_only=True):
    """What a node is and how it fares, as retained JSON; the last will says ``offline``.

    Attributes:
        node: the node's name.
        part: index of the part that it runs.
        replica: ``i/n``: it serves every n-th request; ``auto``: it shares them with living nodes.
        engine: name, instruction set and threads.
        machine: the CPU's architecture.
        received: images that came; retained ones that are ignored do not count.
        published: features that were published.
        dropped: frames that were not computed: ``drops`` in all.
        lost: frames that met a bug of ours; the log has the traceback.
        decode_ms: median time of decoding and resizing over the last hundred frames.
        compute_ms: median time of the engine over the last hundred frames.
        drops: frames that were not computed, by camera and reason (``overload``, ``age``,
            ``rate``).
        unfinished: images of ``every`` whose feature the broker does not have yet.
        redelivered: images of ``every`` that came again while they were unfinished.
        deferred: images of ``every`` left with the broker for want of memory; they come again.
        temperature_c: temperature of the board's chip, degrees Celsius; None where it has no
            sensor.
        throttled: whether heat or a weak power supply slows the board down; None: it cannot say.
        parts_fingerprint: fingerprint of the bundle's parts, hex; empty from a node that does not
            say it.
        board: what the board has and how fast it is; None: the node does not say.
        crops: features of crops among those published; each cost what an image does.
        spared: images of a cascade that were not computed, since they had their label.
        cpu_s: CPU time that the process has used, all threads together, seconds.
        shares: whether others with its part may leave it its share of the requests.
        replicas: nodes that share the requests of its part, itself included, as it knows them.
        pinned: part that its operator chose for it; None: the hub chooses.
        energy_j: energy that the board took since the service started, joules; 0 without a source.
        energy_from: ``rapl``: the kernel's energy counters; ``pmic``: the power chip of a Raspberry
            Pi 5; ``stated``: stated watts times the time of decoding and computing; empty: none.
        repeated: features among those published that are of an earlier image, which looked the
            same.
    """

    node: str
    part: PartCount
    replica: str = "0/1"
    engine: str = ""
    machine: str = ""
    received: int = 0
    published: int = 0
    dropped: int = 0
    lost: int = 0
    decode_ms: float = 0.0
    compute_ms: float = 0.0
    drops: dict[str, dict[str, int]] = {}  # noqa: RUF012 - msgspec copies it
    unfinished: int = 0
    redelivered: int = 0
    deferred: int = 0
    temperature_c: float | None = None
    throttled: bool | None = None
    parts_fingerprint: str = ""
    board: BoardProfile | None = None
    crops: int = 0
    spared: int = 0
    cpu_s: float = 0.0
    shares: bool = False
    replicas: int = 1
    pinned: PartCount | None = None
    energy_j: float = 0.0
    energy_from: EnergySource = ""
    repeated: int = 0


class AggregatorStatus(_Status, frozen=True, kw_only=True):
    """What an aggregator is and how it fares, as retained JSON.

    Attributes:
        shard: ``i/n``.
        features: valid features that came.
        labels: labels that were published.
        late: features of requests already answered.
        duplicate: second features of one part for a request.
        dropped: messages dropped because too many were waiting.
        degraded: labels that lacked a part.
        parts_online: indices of the parts with a live node.
        deadline_s: how long a request of ``latest`` waits for its parts at present.
        unanswered: requests that had too few parts for a label at their deadline.
        unfinished: requests of ``every`` whose label the broker does not have yet.
        early: requests answered before all parts had.
        cpu_s: CPU time that the process has used, all threads together, seconds.
    """

    shard: str
    features: int = 0
    labels: int = 0
    degraded: int = 0
    late: int = 0
    duplicate: int = 0
    dropped: int = 0
    parts_online: tuple[PartCount, ...] = ()
    deadline_s: float = 0.0
    unanswered: int = 0
    unfinished: int = 0
    early: int = 0
    cpu_s: float = 0.0
