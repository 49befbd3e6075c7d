"""The steady states that an aggregator keeps: labels in, one message for each change out."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple

from devit_iot.aggregator.camera_shard import camera_shard
from devit_iot.aggregator.collector import Group, Request
from devit_iot.aggregator.inbox import Inbox
from devit_iot.aggregator.steady import Steady
from devit_iot.config.states import StateConfig
from devit_iot.errors import InputError, MessageError
from devit_iot.protocol.json_message import MAX_JSON_BYTES
from devit_iot.protocol.label import UNKNOWN, Label
from devit_iot.protocol.steady_state import SteadyState
from devit_iot.protocol.topics import Topics
from devit_iot.service.counters import Counters
from devit_iot.transport.base import Message, Transport

MAX_STATES = 1024
"""Pairs of a camera and a head; one more takes the place of the one that had no label longest."""

RESTORED_S = 60.0
"""For so long after a restart the broker may deliver again what an earlier process answered."""

Rule = Callable[[str], StateConfig | None]
"""Head -> when its labels change its state; None: it has no state."""


class Seen(NamedTuple):
    """When the fleet received an image.

    Attributes:
        at: by the aggregator's clock, monotonic seconds.
        received_ms: part -> the same by its node's clock, Unix milliseconds; only for an image of
            ``every``.
    """

    at: float
    received_ms: Mapping[int, int]


def seen_at(request: Request, group: Group) -> Seen:
    """When the fleet received an image: its first feature's time, less what its node took for it.

    That is right however long the image waited at its node, or its request for other parts.
    """
    first = next(iter(group.features.values()))
    by_node = {part: feature.received_ms for part, feature in group.features.items()}
    return Seen(request.first - first.timing.total_us / 1e6, by_node if request.is_every else {})


class _Known:
    """One state.

    Attributes:
        threshold: confidence below which a label counts as ``unknown``.
        steady: the state, and the labels that may change it.
        said: what was published last, or restored; None before.
        connection: number of the connection on which the broker had it.
        restored_until: monotonic seconds until which older images may come again.
    """

    def __init__(self, rule: StateConfig) -> None:
        self.threshold = rule.threshold
        self.steady = Steady(rule)
        self.said: SteadyState | None = None
        self.connection = 0
        self.restored_until = float("-inf")

    def is_repeated(self, seen: Seen, now: float) -> bool:
        """Whether an image was answered before the restart, in which a state was restored.

        Clocks of different nodes are never compared: an image is older if each part says so that
        answered this one and the one that the state rests on.
        """
        if now > self.restored_until or self.said is None:
            return False
        before = self.said.received_ms
        common = before.keys() & seen.received_ms.keys()
        return bool(common) and all(seen.received_ms[part] < before[part] for part in common)


class States:
    """Keeps the states of the cameras that are this aggregator's.

    Each camera's states are kept by one aggregator, whichever fuse its requests; that one reads the
    labels of the others. A state goes on after a restart with the message that the broker retains.
    Handlers run on the network thread and only hand over; all else belongs to the main thread.

    Args:
        rule: when the labels of a head change its state.
        transport: a connection that is not started.
        topics: the fleet's topics.
        shard: index of this aggregator.
        shards: number of the fleet's aggregators.
        heads: heads that answer now; None: whichever. Labels of other aggregators are read from
            when a head has a state, since to read them takes half the time of making them.

    Attributes:
        reads_others: whether the labels of other aggregators, if there are any, are read.
    """

    def __init__(
        self,
        rule: Rule,
        transport: Transport,
        *,
        topics: Topics,
        shard: int,
        shards: int,
        heads: Iterable[str] | None = None,
    ) -> None:
        self._rule = rule
        self._transport = transport
        self._topics = topics
        self._shard = shard
        self._shards = shards
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()
        self._heard: Inbox[tuple[float, Message]] = Inbox()
        self._connection = 0
        # QoS 0: what was retained comes on each connection, and nothing else is needed.
        transport.subscribe(topics.states, self._on_state, required=False)
        self.reads_others = shards == 1  # there are none
        if heads is None or any(rule(head) is not None for head in heads):
            self._read_others()

    def connected(self) -> None:
        """There is a new connection; called on the network thread."""
        self._connection += 1

    def take(self, label: Label, seen: Seen, counters: Counters) -> None:
        """Take a label of ours that was published, and publish the state if it changed.

        Args:
            label: the label.
            seen: when its image came.
            counters: count what is refused.
        """
        self.refresh(counters)
        self._take(label, seen, counters)

    def refresh(self, counters: Counters) -> None:
        """Take what came from the broker meanwhile."""
        while (heard := self._heard.get(0.0)) is not None:
            at, message = heard
            try:
                self._hear(message, at, counters)
            except InputError as error:
                counters.refuse(error, f"message on {message.topic[:100]!r}")

    def _read_others(self) -> None:
        """Read the labels that other aggregators publish, from now on."""
        if not self.reads_others:
            self.reads_others = True
            for labels in (self._topics.labels, self._topics.head_labels):
                self._transport.subscribe(labels, self._on_label, required=False)

    def _on_state(self, message: Message) -> None:
        if message.retained or message.is_deletion:  # the rest is what we said ourselves
            self._hand_over(message)

    def _on_label(self, message: Message) -> None:
        if not message.retained and not message.is_deletion:
            self._hand_over(message)

    def _hand_over(self, message: Message) -> None:
        """Queue a message; if too many wait, it is lost as one of QoS 0 may be."""
        start = message.payload[: MAX_JSON_BYTES + 1]  # enough to see that it is too long
        self._heard.put((time.monotonic(), message._replace(payload=start)), len(start))

    def _hear(self, message: Message, at: float, counters: Counters) -> None:
        camera, head = self._topics.state_of(message.topic)
        if head:
            if message.is_deletion:
                self._known.pop((camera, head), None)
            elif self._keeps(camera):
                self._restore(camera, head, SteadyState.decode(message.payload))
            return
        camera, _ = self._topics.label_of(message.topic)
        label = Label.decode(message.payload)
        if label.camera != camera:
            raise MessageError("camera", f"a label of {label.camera!r}")
        if _shard_byte(label) % self._shards != self._shard:
            self._take(label, Seen(at - _took_s(label), {}), counters)

    def _keeps(self, camera: str) -> bool:
        """Whether this aggregator keeps the states of ``camera``."""
        return camera_shard(camera, self._shards) == self._shard

    def _restore(self, camera: str, head: str, state: SteadyState) -> None:
        if (state.camera, state.head) != (camera, head):
            raise MessageError("camera", f"a state of {state.camera!r} and head {state.head!r}")
        known = self._of(camera, head)
        if known is None or known.steady.name is not None:
            return
        now = time.monotonic()
        age = (datetime.now(UTC) - state.since).total_seconds()
        known.steady.restore(state.state, now - max(age, 0.0))
        known.said = state
        known.connection = self._connection
        known.restored_until = now + RESTORED_S

    def _of(self, camera: str, head: str) -> _Known | None:
        """What is known of one state; None: the head has none."""
        rule = self._rule(head)
        if rule is None:
            return None
        self._read_others()
        known = self._known.setdefault((camera, head), _Known(rule))
        self._known.move_to_end((camera, head))
        if len(self._known) > MAX_STATES:
            self._known.popitem(last=False)
        return known

    def _take(self, label: Label, seen: Seen, counters: Counters) -> None:
        known = self._of(label.camera, label.head) if self._keeps(label.camera) else None
        now = time.monotonic()
        if known is None or known.is_repeated(seen, now):
            return
        sure = label.label != UNKNOWN and label.confidence >= known.threshold
        name = label.label if sure else UNKNOWN
        if known.steady.take(name, seen.at):
            known.said = SteadyState(
                camera=label.camera,
                head=label.head,
                state=name,
                class_index=label.class_index if sure else -1,
                since=_moment(now - seen.at),
                before="" if known.said is None else known.said.state,
                confidence=label.confidence,
                request_id=label.request_id,
                head_version=label.head_version,
                fingerprint=label.fingerprint,
                received_ms=dict(seen.received_ms),
            )
        elif known.connection == self._connection or known.steady.name != name:
            return
        if known.said is not None:
            known.connection = self._connection  # a broker that lost its disk hears it again
            self._publish(known.said, counters)

    def _publish(self, state: SteadyState, counters: Counters) -> None:
        where = f"state of camera {state.camera!r}"
        give_up = partial(counters.refuse, where=where)
        topic = self._topics.state(state.camera, state.head)
        try:
            self._transport.publish(topic, state.encode(), qos=1, retain=True, on_given_up=give_up)
        except InputError as error:
            give_up(error)


def _moment(age_s: float) -> datetime:
    """The moment ``age_s`` ago, to the millisecond."""
    moment = datetime.now(UTC) - timedelta(seconds=age_s)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _shard_byte(label: Label) -> int:
    """The byte of a label's request id that chooses its aggregator."""
    try:
        return bytes.fromhex(label.request_id[:2])[0]
    except (ValueError, IndexError) as error:
        raise MessageError("request_id", "a label's request id is not 32 hex digits") from error


def _took_s(label: Label) -> float:
    """The time from receiving an image to its label; nothing if what the label says cannot be."""
    seconds = sum(label.latency_ms.values()) / 1e3
    return seconds if math.isfinite(seconds) and 0 <= seconds <= RESTORED_S else 0.0
