"""What a fleet looks like, from what it publishes. Pure: time is an argument."""

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import msgspec
import numpy as np

from devit_iot.aggregator.presence import MAX_NODES
from devit_iot.errors import MessageError
from devit_iot.monitor.releases import Releases
from devit_iot.monitor.views import AggregatorView, CameraView, FleetView, NodeView, Quantiles
from devit_iot.protocol.label import LATENCIES, Label
from devit_iot.protocol.status import STATUS_LIFETIME_S, AggregatorStatus, NodeStatus
from devit_iot.protocol.steady_state import SteadyState
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message

MAX_CAMERAS = 1024
MAX_AGGREGATORS = 64
RATE_S = 10.0
"""Labels of so many seconds make the rate."""

_LABELS = 10_000  # remembered for the rate
_LATENCIES = 1000  # the last labels
_PARTS = 1024  # remembered of a message
_REASONS = 8  # why a node drops images, told apart


V = TypeVar("V", NodeView, AggregatorView, CameraView, SteadyState)


class _Latest(Generic[V]):
    """What each of at most ``limit`` publishers said last, and when."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: dict[str, tuple[float, V]] = {}  # in the order of hearing

    def put(self, name: str, view: V, now: float) -> None:
        self._known.pop(name, None)
        if len(self._known) >= self._limit:
            del self._known[next(iter(self._known))]
        self._known[name] = (now, view)

    def drop(self, name: str) -> None:
        self._known.pop(name, None)

    def get(self, name: str) -> V | None:
        return self._known[name][1] if name in self._known else None

    def last(self) -> V | None:
        """The last message of the publisher that was heard last."""
        return next(reversed(self._known.values()))[1] if self._known else None

    def views(self, now: float) -> list[V]:
        return [
            msgspec.structs.replace(view, age_s=round(now - at, 1))
            for at, view in self._known.values()
        ]


class Overview:
    """Takes labels, states and statuses, shows the fleet.

    What it remembers is bounded, whatever arrives: 1024 nodes, heads of cameras and states, 64
    aggregators (one more takes the place of the one that was heard least recently), ten thousand
    labels for the rate and a thousand for latencies.

    Args:
        topics: the fleet's topics.
        now: monotonic seconds.
    """

    def __init__(self, topics: Topics, now: float) -> None:
        self._topics = topics
        self._started = now
        self._nodes: _Latest[NodeView] = _Latest(MAX_NODES)
        self._aggregators: _Latest[AggregatorView] = _Latest(MAX_AGGREGATORS)
        self._cameras: _Latest[CameraView] = _Latest(MAX_CAMERAS)
        self._states: _Latest[SteadyState] = _Latest(MAX_CAMERAS)
        self._labels: deque[tuple[float, bool]] = deque(maxlen=_LABELS)
        self._latencies: deque[tuple[float, ...]] = deque(maxlen=_LATENCIES)
        self._refused = 0
        self._releases = Releases(topics)

    def take(self, message: Message, now: float) -> None:
        """Look at a label, state or status.

        One that is unusable is counted; an empty one takes its camera, node or aggregator away.
        """
        try:
            self._take(message, now)
        except MessageError:
            self._refused += 1

    def _take(self, message: Message, now: float) -> None:
        if self._releases.take(message):
            return
        camera, head = self._topics.label_of(message.topic)
        if camera:
            self._take_camera(camera, head, message, now)
            return
        camera, head = self._topics.state_of(message.topic)
        if camera:
            self._take_state(camera, head, message, now)
            return
        name = self._topics.node_of(message.topic)
        if message.topic == self._topics.node_status(name):
            if message.is_deletion:
                self._nodes.drop(name)
            else:
                view = _node_view(name, NodeStatus.decode(message.payload))
                self._nodes.put(name, view, now)
        elif message.topic == self._topics.aggregator_status(name):
            if message.is_deletion:
                self._aggregators.drop(name)
            else:
                status = AggregatorStatus.decode(message.payload)
                self._aggregators.put(name, _aggregator_view(name, status), now)
        else:
            raise MessageError("topic", "neither a label, a state nor a status")

    def _take_camera(self, camera: str, head: str, message: Message, now: float) -> None:
        if message.is_deletion:
            self._cameras.drop(_row(camera, head))
            return
        label = read_label(camera, message.payload, head)
        self._take_label(label, now, main=not head, retained=message.retained)

    def _take_state(self, camera: str, head: str, message: Message, now: float) -> None:
        if message.is_deletion:
            self._states.drop(_row(camera, head))
        else:
            self._states.put(_row(camera, head), read_state(camera, head, message.payload), now)

    def _take_label(self, label: Label, now: float, *, main: bool, retained: bool) -> None:
        row = _row(label.camera, "" if main else label.head)
        known = self._cameras.get(row)
        if known is not None and known.request_id == label.request_id:
            return  # the same one, after somebody connected again
        self._cameras.put(row, _camera_view(label, main=main, retained=retained), now)
        if main and not retained:
            self._labels.append((now, label.degraded))
            self._latencies.append(tuple(_latency(label.latency_ms, name) for name in LATENCIES))

    def view(self, now: float) -> FleetView:
        """The fleet as it looks now; rows sorted by part, shard and name."""
        nodes = [_with_state(node) for node in self._nodes.views(now)]
        aggregators = [_with_state(aggregator) for aggregator in self._aggregators.views(now)]
        last = self._aggregators.last() or self._nodes.last()
        parts = 0 if last is None else last.parts
        alive = [set(a.parts_online) for a in aggregators if a.state == "online"]
        online = set().union(*alive) if alive else {n.part for n in nodes if n.state == "online"}
        recent = [degraded for at, degraded in self._labels if now - at <= RATE_S]
        return FleetView(
            fleet=self._topics.fleet,
            parts=parts,
            parts_online=tuple(sorted(part for part in online if 0 <= part < parts)),
            labels_per_s=round(len(recent) / min(RATE_S, max(now - self._started, 1.0)), 2),
            degraded_share=round(sum(recent) / len(recent), 4) if recent else 0.0,
            latency_ms=quantiles(self._latencies),
            aggregators=tuple(sorted(aggregators, key=lambda a: a.shard)),
            nodes=tuple(sorted(nodes, key=lambda n: (n.part, n.name))),
            cameras=tuple(
                sorted(map(self._with_steady_state, self._cameras.views(now)), key=_order)
            ),
            refused=self._refused,
            releases=self._releases.view(),
        )

    def _with_steady_state(self, view: CameraView) -> CameraView:
        known = self._states.get(_row(view.camera, view.head))
        if known is None:
            return view
        return msgspec.structs.replace(view, state=known.state, since=known.since.isoformat())

    @property
    def latencies(self) -> Sequence[tuple[float, ...]]:
        """Milliseconds of each stage in ``LATENCIES``, of the last labels."""
        return self._latencies


def quantiles(latencies: Sequence[tuple[float, ...]]) -> dict[str, Quantiles]:
    """Stage -> quantiles of labels' times in ms; empty without a label."""
    if not latencies:
        return {}
    p50, p99 = np.quantile(np.array(latencies), (0.5, 0.99), axis=0)
    return {
        name: Quantiles(round(float(p50[i]), 3), round(float(p99[i]), 3))
        for i, name in enumerate(LATENCIES)
    }


def read_label(camera: str, payload: bytes, head: str = "") -> Label:
    """The label that appeared on the topic of ``camera``, or of its further head ``head``.

    Raises:
        MessageError: it does not parse, or is of another camera or head.
    """
    label = Label.decode(payload)
    if label.camera != camera:
        raise MessageError("camera", f"a label of {label.camera!r} on the topic of {camera!r}")
    if head and label.head != head:
        raise MessageError(
            "camera", f"a label of head {label.head!r} on the topic of head {head!r}"
        )
    return label


def read_state(camera: str, head: str, payload: bytes) -> SteadyState:
    """The steady state that appeared on the topic of ``camera`` and ``head``.

    Raises:
        MessageError: it does not parse, or is of another camera or head.
    """
    state = SteadyState.decode(payload)
    if (state.camera, state.head) != (camera, head):
        raise MessageError(
            "camera",
            f"a state of {state.camera!r}, {state.head!r} on the topic of {camera!r}, {head!r}",
        )
    return state


def _row(camera: str, head: str) -> str:
    """Names one head of a camera; no head is the main one. A camera's name has no slash."""
    return f"{camera}/{head}"


def _order(view: CameraView) -> tuple[str, bool, str]:
    """By camera, the main head first."""
    return view.camera, not view.main, view.head


S = TypeVar("S", NodeView, AggregatorView)


def _with_state(view: S) -> S:
    if view.state == "online" and view.age_s > STATUS_LIFETIME_S:
        return msgspec.structs.replace(view, state="silent")
    return view


def _node_view(name: str, status: NodeStatus) -> NodeView:
    drops: Counter[str] = Counter()
    for by_reason in status.drops.values():
        for reason, number in by_reason.items():
            told_apart = reason in drops or len(drops) < _REASONS
            drops[reason if told_apart else "other"] += number
    return NodeView(
        name=name,
        state=status.state,
        age_s=0.0,
        part=status.part,
        parts=status.parts,
        replica=status.replica,
        replicas=status.replicas,
        engine=status.engine,
        compute_ms=status.compute_ms,
        temperature_c=status.temperature_c,
        throttled=status.throttled,
        published=status.published,
        crops=status.crops,
        refused=sum(status.refused.values()),
        lost=status.lost,
        drops=dict(drops),
        problem=status.problem,
        energy_j=status.energy_j,
        energy_from=status.energy_from,
    )


def _aggregator_view(shard: str, status: AggregatorStatus) -> AggregatorView:
    return AggregatorView(
        shard=shard,
        state=status.state,
        age_s=0.0,
        parts=status.parts,
        parts_online=tuple(sorted(set(status.parts_online)))[:_PARTS],
        labels=status.labels,
        unanswered=status.unanswered,
        problem=status.problem,
    )


def _camera_view(label: Label, *, main: bool, retained: bool) -> CameraView:
    return CameraView(
        camera=label.camera,
        head=label.head,
        main=main,
        request_id=label.request_id,
        label=label.label,
        confidence=label.confidence,
        parts_used=label.parts_used[:_PARTS],
        parts=label.parts,
        degraded=label.degraded,
        retained=retained,
        age_s=0.0,
    )


def _latency(latency_ms: Mapping[str, float], name: str) -> float:
    value = latency_ms.get(name, 0.0)
    return value if math.isfinite(value) and value >= 0 else 0.0
