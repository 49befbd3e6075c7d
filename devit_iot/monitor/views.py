"""What a fleet looks like at one moment, for those who show it."""

import msgspec

from devit_iot.monitor.releases import ReleasesView


class Quantiles(msgspec.Struct, frozen=True):
    """Median and 99th percentile of the last thousand labels, milliseconds."""

    p50: float
    p99: float


class NodeView(msgspec.Struct, frozen=True):
    """One node as it said last.

    Attributes:
        state: ``online``, ``offline``, or ``silent``: it said ``online`` and nothing for
            ``STATUS_LIFETIME_S``; at an upper broker also ``cut off``, with its cell.
        age_s: seconds since it said so.
        replicas: nodes that share its part by who lives, itself included.
        refused: number of refused inputs.
        drops: images of ``latest`` that were not computed, by reason.
        energy_j: energy that the board took, joules, by ``energy_from``; see the node's status.
        crops: features of crops among the published ones.
        cell: cell that it belongs to; empty where the broker is no upper one.
    """

    name: str
    state: str
    age_s: float
    part: int
    parts: int
    replica: str
    replicas: int
    engine: str
    compute_ms: float
    temperature_c: float | None
    throttled: bool | None
    published: int
    crops: int
    refused: int
    lost: int
    drops: dict[str, int]
    problem: str
    energy_j: float
    energy_from: str
    cell: str = ""


class AggregatorView(msgspec.Struct, frozen=True):
    """One aggregator as it said last; ``state``, ``age_s`` and ``cell`` as for a node."""

    shard: str
    state: str
    age_s: float
    parts: int
    parts_online: tuple[int, ...]
    labels: int
    unanswered: int
    problem: str
    cell: str = ""


class CameraView(msgspec.Struct, frozen=True):
    """The last label of one head on a camera, and the head's steady state.

    Attributes:
        head: name of the head; ``main``: whether it is the camera's main one.
        age_s: seconds since it came; a ``retained`` one, from before we looked, is at least so old.
        state: what its labels have said for some time; empty if it has no state.
        since: since when, RFC 3339; empty without a state.
        cell: cell that labels it; empty where the broker is no upper one.
    """

    camera: str
    head: str
    main: bool
    request_id: str
    label: str
    confidence: float
    parts_used: tuple[int, ...]
    parts: int
    degraded: bool
    retained: bool
    age_s: float
    state: str = ""
    since: str = ""
    cell: str = ""


class CellView(msgspec.Struct, frozen=True):
    """One cell as an upper broker shows it.

    Attributes:
        state: ``connected``; ``cut off``: its bridge is away, and what else is shown of it is what
            it said before; ``silent``: nothing came for ``STATUS_LIFETIME_S``; ``unknown``: nobody
            said.
        age_s: seconds since the upper broker said whether its bridge is there.
        parts: number of parts of its bundle; 0 if nobody said.
        parts_online: parts with a live node.
        nodes_online: number of nodes that are online.
        labels_per_s: labels a second over the last ten seconds.
    """

    name: str
    state: str
    age_s: float
    parts: int
    parts_online: tuple[int, ...]
    nodes_online: int
    labels_per_s: float


class FleetView(msgspec.Struct, frozen=True):
    """A fleet at one moment.

    Attributes:
        parts: number of parts of its bundle; 0 if nobody said.
        parts_online: parts with a live node, as the aggregators say, else as the nodes do; at an
            upper broker those that are online in each cell.
        labels_per_s: labels a second over the last ten seconds.
        degraded_share: share of degraded labels among those of the last ten seconds, 0 to 1.
        latency_ms: stage -> quantiles; empty before the first label.
        refused: messages that do not parse or do not belong here.
        releases: how far it is with its releases.
        cells: the cells that the broker shows; empty where it is no upper one.
    """

    fleet: str
    parts: int
    parts_online: tuple[int, ...]
    labels_per_s: float
    degraded_share: float
    latency_ms: dict[str, Quantiles]
    aggregators: tuple[AggregatorView, ...]
    nodes: tuple[NodeView, ...]
    cameras: tuple[CameraView, ...]
    refused: int
    releases: ReleasesView
    cells: tuple[CellView, ...] = ()
