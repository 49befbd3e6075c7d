"""What Prometheus is told of a service: each metric is a row, its value a fact of the status.

docs/metrics.md is made from the rows. Names as https://prometheus.io/docs/practices/naming asks.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Generic, Literal, NamedTuple, TypeVar, get_args

from devit_iot.protocol.release import UpdateStatus
from devit_iot.protocol.status import AggregatorStatus, NodeStatus
from devit_iot.service.counters import Reason

S = TypeVar("S", NodeStatus, AggregatorStatus, UpdateStatus)

Children = Mapping[tuple[str, ...], float]
"""Values of a metric's labels -> number."""


class Metric(NamedTuple, Generic[S]):
    """One metric.

    Attributes:
        name: the metric's name as a query writes it.
        labels: names of its labels; what they can be is bounded.
        children: present values of the metric; none if the fact is not known.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...]
    children: Callable[[S], Children]


class Row(NamedTuple):
    """What a metric is; its values do not come from the status, or do not matter here."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


class Sample(NamedTuple):
    """A metric and its values now; fields as in :class:`Metric`."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...]
    children: Children


def _metric(name: str, help_text: str, value: Callable[[S], float | None]) -> Metric[S]:
    """One without labels; None is no value."""

    def children(status: S) -> Children:
        number = value(status)
        return {} if number is None else {(): number}

    return Metric(name, _kind(name), help_text, (), children)


def _by(
    label: str, name: str, help_text: str, values: Callable[[S], Mapping[str, float]]
) -> Metric[S]:
    """One with one label."""

    def children(status: S) -> Children:
        return {(value,): number for value, number in values(status).items()}

    return Metric(name, _kind(name), help_text, (label,), children)


def _info(name: str, help_text: str, *fields: str) -> Metric[S]:
    """Always 1: its labels are fields of the status."""

    def children(status: S) -> Children:
        return {tuple(str(getattr(status, field)) for field in fields): 1.0}

    return Metric(name, "gauge", help_text, fields, children)


def _kind(name: str) -> Literal["counter", "gauge"]:
    return "counter" if name.endswith("_total") else "gauge"


def _drops(status: NodeStatus) -> Counter[str]:
    """Drops by reason. Cameras are not told apart: their names come over the wire.

    A reason that did not occur is 0: a rate needs a value to start from.
    """
    counts = Counter(dict.fromkeys(get_args(Reason), 0))
    for by_reason in status.drops.values():
        counts.update(by_reason)
    return counts


def _parts(status: AggregatorStatus) -> dict[str, int]:
    return {str(part): part in status.parts_online for part in range(status.parts)}


NODE: tuple[Metric[NodeStatus], ...] = (
    _info(
        "devit_node_info",
        "What the node is; always 1.",
        *("node", "part", "replica", "engine", "machine", "version"),
        *("fingerprint", "parts_fingerprint"),
    ),
    _metric(
        "devit_node_images_received_total",
        "Images that came; retained ones that are ignored do not count.",
        lambda s: s.received,
    ),
    _metric("devit_node_features_published_total", "Features.", lambda s: s.published),
    _metric(
        "devit_node_crops_published_total",
        "Features of crops among them; each cost what an image does.",
        lambda s: s.crops,
    ),
    _by(
        "reason",
        "devit_node_images_dropped_total",
        "Images of delivery latest that were not computed: overload, age or rate.",
        _drops,
    ),
    _by(
        "reason",
        "devit_node_inputs_refused_total",
        "Inputs refused, by the reasons of docs/protocol.md.",
        lambda s: s.refused,
    ),
    _metric("devit_node_images_lost_total", "Images that met an internal error.", lambda s: s.lost),
    _metric(
        "devit_node_messages_unsent_total",
        "Messages given up because the broker was away.",
        lambda s: s.unsent,
    ),
    _metric(
        "devit_node_images_redelivered_total",
        "Images of delivery every that came again while they were unfinished.",
        lambda s: s.redelivered,
    ),
    _metric(
        "devit_node_images_deferred_total",
        "Images of delivery every left with the broker for want of memory; they come again.",
        lambda s: s.deferred,
    ),
    _metric(
        "devit_node_images_unfinished",
        "Images of delivery every whose feature the broker does not have yet.",
        lambda s: s.unfinished,
    ),
    _metric(
        "devit_node_images_spared_total",
        "Images of a cascade that were not computed, since they had their label.",
        lambda s: s.spared,
    ),
    _metric(
        "devit_node_images_repeated_total",
        "Features of an earlier image, which looked the same, in place of an inference.",
        lambda s: s.repeated,
    ),
    _metric("devit_node_cpu_seconds_total", "CPU time of the process.", lambda s: s.cpu_s),
    _by(
        "source",
        "devit_node_energy_joules_total",
        "Energy of the board; measured if source is rapl or pmic, and absent without a source.",
        lambda s: {s.energy_from: s.energy_j} if s.energy_from else {},
    ),
    _metric(
        "devit_node_temperature_celsius",
        "Temperature of the board's chip; absent without a sensor.",
        lambda s: s.temperature_c,
    ),
    _metric(
        "devit_node_throttled",
        "Whether heat or a weak power supply slows the board down; absent if it cannot say.",
        lambda s: s.throttled,
    ),
    _metric(
        "devit_node_replicas",
        "Living nodes that share the requests of the part, this one included.",
        lambda s: s.replicas,
    ),
)

UPDATE: tuple[Metric[UpdateStatus], ...] = (
    _info(
        "devit_update_info",
        "Release that the hub wants here, how far it is, and on which part; always 1.",
        *("release", "fingerprint", "state", "part"),
    ),
    _metric(
        "devit_update_progress_ratio",
        "Share of the release's bytes that are there, 0 to 1.",
        lambda s: s.progress,
    ),
    _metric("devit_update_attempt", "Attempt at the release, from 1.", lambda s: s.attempt),
    _metric(
        "devit_update_failed",
        "Whether the last attempt at the release failed.",
        lambda s: bool(s.error),
    ),
    _metric("devit_update_serving", "Release that is served; 0: none.", lambda s: s.serving),
    _metric(
        "devit_update_trial",
        "Whether the release that is served is on trial.",
        lambda s: s.trial,
    ),
)

AGGREGATOR: tuple[Metric[AggregatorStatus], ...] = (
    _info(
        "devit_aggregator_info",
        "What the aggregator is; always 1.",
        *("shard", "version", "fingerprint"),
    ),
    _metric("devit_aggregator_features_received_total", "Valid features.", lambda s: s.features),
    _metric("devit_aggregator_labels_published_total", "Labels.", lambda s: s.labels),
    _metric(
        "devit_aggregator_labels_degraded_total", "Labels that lack a part.", lambda s: s.degraded
    ),
    _metric(
        "devit_aggregator_requests_early_total",
        "Requests that were answered before all parts had.",
        lambda s: s.early,
    ),
    _metric("devit_aggregator_cpu_seconds_total", "CPU time of the process.", lambda s: s.cpu_s),
    _metric(
        "devit_aggregator_requests_unanswered_total",
        "Requests with too few parts for a label at their deadline.",
        lambda s: s.unanswered,
    ),
    _metric(
        "devit_aggregator_features_late_total",
        "Features of requests that were answered already.",
        lambda s: s.late,
    ),
    _metric(
        "devit_aggregator_features_duplicate_total",
        "Second features of one part for a request.",
        lambda s: s.duplicate,
    ),
    _metric(
        "devit_aggregator_messages_dropped_total",
        "Messages given up because too many were waiting.",
        lambda s: s.dropped,
    ),
    _by(
        "reason",
        "devit_aggregator_inputs_refused_total",
        "Inputs refused, by the reasons of docs/protocol.md.",
        lambda s: s.refused,
    ),
    _metric(
        "devit_aggregator_messages_unsent_total",
        "Messages given up because the broker was away.",
        lambda s: s.unsent,
    ),
    _metric(
        "devit_aggregator_requests_unfinished",
        "Requests of delivery every whose label the broker does not have yet.",
        lambda s: s.unfinished,
    ),
    _by("part", "devit_aggregator_part_online", "Whether the part has a live node.", _parts),
    _metric(
        "devit_aggregator_deadline_seconds",
        "How long a request of delivery latest waits for its parts at present.",
        lambda s: s.deadline_s,
    ),
)

NODE_DURATIONS = Row(
    "devit_node_stage_seconds",
    "histogram",
    "Time of an image by stage: wait, decode, compute.",
    ("stage",),
)
AGGREGATOR_DURATIONS = Row(
    "devit_aggregator_stage_seconds",
    "histogram",
    "Time of a label by stage: wait, decode and compute of the part that answered last, collect, "
    "fuse.",
    ("stage",),
)
CELL_CONNECTED = Row(
    "devit_cell_connected",
    "gauge",
    "Whether the cell's bridge to the upper broker is there; only from `devit upper`.",
    ("cell",),
)
MEMBER_ONLINE = Row(
    "devit_cell_member_online",
    "gauge",
    "Whether a node (kind node) or aggregator (kind shard) of a cell said last that it is online; "
    "only from `devit upper`.",
    ("cell", "kind", "name"),
)
CELLS = (CELL_CONNECTED, MEMBER_ONLINE)
HEALTHY = Row("devit_healthy", "gauge", "Whether /healthz says 200.")


AnyMetric = Metric[NodeStatus] | Metric[AggregatorStatus] | Metric[UpdateStatus]


def of(
    status: NodeStatus | AggregatorStatus | UpdateStatus,
) -> list[tuple[AnyMetric, Children]]:
    """The metrics of a status, and their values."""
    if isinstance(status, UpdateStatus):
        return [(metric, metric.children(status)) for metric in UPDATE]
    if isinstance(status, NodeStatus):
        return [(metric, metric.children(status)) for metric in NODE]
    return [(metric, metric.children(status)) for metric in AGGREGATOR]


def rows() -> list[Row]:
    """Every metric, for documents."""
    node = [Row(m.name, m.kind, m.help, m.labels) for m in NODE]
    aggregator = [Row(m.name, m.kind, m.help, m.labels) for m in AGGREGATOR]
    update = [Row(m.name, m.kind, m.help, m.labels) for m in UPDATE]
    return [*node, NODE_DURATIONS, *aggregator, AGGREGATOR_DURATIONS, *update, *CELLS, HEALTHY]
