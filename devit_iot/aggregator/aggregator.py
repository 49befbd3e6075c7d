"""The aggregator: features of all parts in, labels out."""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec

from devit_iot.aggregator.collector import Collector, Limits, Request
from devit_iot.aggregator.deadline import Deadline
from devit_iot.aggregator.early import EarlyAnswers
from devit_iot.aggregator.enough import Enough
from devit_iot.aggregator.fusions import Fusions
from devit_iot.aggregator.heads import CameraHeads
from devit_iot.aggregator.inbox import Inbox
from devit_iot.aggregator.labelling import Labelling, make_label
from devit_iot.aggregator.observer import Nobody, Observer
from devit_iot.aggregator.presence import Presence
from devit_iot.aggregator.states import seen_at
from devit_iot.config.config import AggregatorConfig
from devit_iot.errors import InputError, MessageError
from devit_iot.protocol.feature import Feature, longest_feature
from devit_iot.protocol.json_message import MAX_JSON_BYTES
from devit_iot.protocol.label import LATENCIES, Label
from devit_iot.protocol.status import AggregatorStatus, NodeStatus, State
from devit_iot.protocol.topics import Topics
from devit_iot.service.after_all import AfterAll
from devit_iot.service.durations import Durations
from devit_iot.service.pending_acks import PendingAcks
from devit_iot.service.status import INTERVAL_S, StatusReporter
from devit_iot.transport.base import Message, Transport
from devit_iot.transport.refusals import Refusal

logger = logging.getLogger(__name__)

RECEIVE_MAXIMUM = 4096
"""Features of ``every`` that the broker sends ahead of their acknowledgement, if it speaks MQTT 5.
So many wait for others of their requests before the oldest request is answered without them."""

_BUSY_REFRESH_S = 0.02
"""What is done beside waiting messages is done so often: for each it would cost a fifth more."""


class _Received(NamedTuple):
    """A message that waits for its turn.

    Attributes:
        at: when it came, monotonic seconds.
        node: the node that sent it, by its topic.
    """

    at: float
    node: str
    message: Message


class Aggregator:
    """Fuses the features of each request and publishes its label.

    A request is answered when all parts that are alive have sent their feature, or at the
    deadline. The broker may forget the features of ``every``, which it delivers at QoS 1, when it
    has their label. The network thread only hands messages over; all state belongs to :meth:`run`.

    Args:
        identity: the aggregator's status without counters: shard, bundle.
        fusions: bundles whose features it takes, with the heads that answer.
        transport: a connection that is not started; its will says that this aggregator is offline.
        every_lifetime_s: how long the broker may deliver a feature of ``every`` again.
        labelling: when labels go out, and what they move.
        observer: is told of cameras and nodes; None: nobody is.

    Attributes:
        reporter: publishes its status.
        durations: where the time of its labels went, as in their ``latency_ms``.
    """

    def __init__(
        self,
        identity: AggregatorStatus,
        fusions: Fusions,
        transport: Transport,
        *,
        topics: Topics,
        config: AggregatorConfig,
        every_lifetime_s: float,
        labelling: Labelling,
        observer: Observer | None = None,
    ) -> None:
        self._identity = identity
        self._fusions = fusions
        self._deferred_at: int | None = None  # features wait at the broker for their bundle
        self._transport = transport
        self._topics = topics
        self._deadline = Deadline(config.min_deadline_s, config.deadline_s)
        self._collector = Collector(
            self._deadline,
            Limits(
                every_deadline_s=config.every_deadline_s,
                lifetime_s=config.lifetime_s,
                every_lifetime_s=every_lifetime_s,
                max_open=config.max_open,
                max_open_per_camera=config.max_open_per_camera,
            ),
        )
        self._early = EarlyAnswers(labelling.early)
        self._answers_early = labelling.early.any
        self._min_parts = config.min_parts
        self._states = labelling.states
        self._observer = observer or Nobody()
        self._pending_acks = PendingAcks(transport)
        self._presence = Presence(identity.parts, time.monotonic())
        self._inbox: Inbox[_Received] = Inbox()
        self._enough = Enough(transport, topics.enough(config.shard), self._inbox.nudge)
        self._counters = labelling.counters
        self._refresh_at = 0.0
        self._stopping = threading.Event()
        self._refusal = Refusal(self.stop)
        self.durations = {name: Durations() for name in LATENCIES}
        self.reporter = StatusReporter(
            transport, topics.aggregator_status(config.shard), self._status
        )
        # Statuses at QoS 0: the broker must not store old ones while this aggregator is away.
        transport.subscribe(
            topics.node_statuses,
            partial(self._hand_over, longest=MAX_JSON_BYTES, reason="too_large"),
        )
        transport.subscribe(topics.features(config.shard), self._on_feature, qos=1, manual_ack=True)

    def run(self) -> None:
        """Serve until :meth:`stop`.

        Raises:
            BrokerError: the broker refused us for good.
        """
        said = (self._identity.shard, self._identity.parts, self._identity.fingerprint)
        logger.info("aggregator %s fuses %d parts, bundle %s", *said)
        with (
            self._observer.running(),
            self.reporter.connected(self._refusal, self._on_connected),
        ):
            while not self._stopping.is_set():
                self._step()
        self._refusal.check()

    def _on_connected(self) -> None:
        self._states.connected()
        self._observer.connected()

    def stop(self) -> None:
        """Make :meth:`run` return after the message in progress."""
        self._stopping.set()
        self._inbox.wake()

    def serve(self, fingerprint: str, parts: int) -> None:
        """The fleet goes over to another bundle; features of the one before are taken too."""
        self._presence.expect(parts)
        self._identity = msgspec.structs.replace(
            self._identity, fingerprint=fingerprint, parts=parts
        )

    def _step(self) -> None:
        """Handle one message, or what became due meanwhile."""
        deadline = self._collector.next_deadline()
        wait = INTERVAL_S if deadline is None else deadline - time.monotonic()
        item = self._inbox.get(min(max(wait, 0.0), INTERVAL_S))
        if item is not None:
            self._handle(item)
        now = time.monotonic()
        refreshes = now >= self._refresh_at or not len(self._inbox)
        if refreshes:  # a head that is live now answers this image already
            self._fusions.refresh(now)
        window_full = self._pending_acks.messages >= RECEIVE_MAXIMUM
        expected = self._presence.expected(now)
        for request in self._collector.due(now, expected, window_full=window_full):
            self._answer(request)
        self._enough.say()
        if refreshes:
            self._refresh_at = now + _BUSY_REFRESH_S
            self._refresh()

    def _refresh(self) -> None:
        """Do what is to be done beside the messages."""
        if self._deferred_at not in {None, self._fusions.changes}:
            self._deferred_at = None
            self._transport.redeliver()
        self._states.refresh(self._counters)
        self.reporter.refresh()
        self._observer.refresh()

    def _on_feature(self, message: Message) -> None:
        if message.retained:
            self._refuse(MessageError("retained", "the broker kept it from before"), message)
        else:
            longest = longest_feature(self._fusions.longest_dim)
            self._hand_over(message, longest=longest, reason="length")

    def _hand_over(self, message: Message, *, longest: int, reason: str) -> None:
        """Queue what can be a message of ours; the rest is refused before it takes memory."""
        size = len(message.payload)
        try:
            node = self._topics.node_of(message.topic)
            if size > longest:
                raise MessageError(reason, f"{size} bytes, the longest has {longest}")
        except InputError as error:
            self._refuse(error, message)
            return
        # Messages of `every` are as many as the broker sends ahead, and must not be lost here.
        item = _Received(time.monotonic(), node, message)
        if not self._inbox.put(item, size, force=message.delivery is not None):
            self._counters.count("dropped")

    def _handle(self, item: _Received) -> None:
        try:
            if item.message.topic != self._topics.node_status(item.node):
                self._take_feature(item.node, item.message, item.at)
            elif item.message.is_deletion:
                self._forget(item.node)
            else:
                self._take_status(item.node, NodeStatus.decode(item.message.payload), item.at)
        except InputError as error:
            self._refuse(error, item.message)

    def _refuse(self, error: InputError, message: Message) -> None:
        self._counters.refuse(error, f"message on {message.topic[:100]!r}")
        self._transport.acknowledge(message)

    def _forget(self, node: str) -> None:
        """Somebody deleted a node's status: it is no member of the fleet any more."""
        self._presence.forget(node)
        self._observer.forget_node(node)

    def _take_status(self, node: str, status: NodeStatus, received: float) -> None:
        if status.state == "offline":
            self._presence.offline(node, status.part)
        elif not status.fingerprint:  # a node that waits for its part
            self._presence.forget(node)
        elif self._fusions.made_by(status.fingerprint, status.parts_fingerprint) is not None:
            self._presence.online(node, status.part, received)
            self._observer.see_node(node, status)
        else:
            self._presence.offline(node, status.part)
            raise MessageError("other_bundle", self._other_bundle(status.fingerprint))

    def _take_feature(self, node: str, message: Message, received: float) -> None:
        feature = Feature.decode(message.payload)
        changes = self._fusions.changes
        fingerprint = feature.fingerprint.hex()
        heads = self._fusions.made_by(fingerprint, feature.parts_fingerprint.hex())
        if heads is None:
            if message.delivery is not None and self._fusions.may_come(fingerprint):
                self._deferred_at = changes  # it is not acknowledged, so it comes again
                return
            raise MessageError("other_bundle", self._other_bundle(fingerprint))
        if feature.parts != heads.parts:
            raise MessageError(
                "part", f"feature of {feature.parts} parts, the bundle has {heads.parts}"
            )
        wanted = heads.feature_dims[feature.part]
        if feature.values.size != wanted:
            raise MessageError(
                "length",
                f"feature of part {feature.part} has {feature.values.size} values, not {wanted}",
            )
        if not heads.looking_at(feature.camera, feature.crop):
            raise MessageError("crop", f"no head of camera {feature.camera!r} looks there")
        self._counters.count("features")
        self._presence.heard(node, feature.part, received)
        is_every = message.delivery is not None
        verdict = self._collector.add(
            feature,
            received,
            bundle=heads.fingerprint,
            is_every=is_every,
            patience_s=self._early.patience_s(feature, heads.parts),
        )
        if verdict != "taken":
            self._counters.count(verdict)
        if is_every and verdict != "late":
            self._pending_acks.add(feature.request_id, message)
        elif is_every and not self._pending_acks.add_if_pending(feature.request_id, message):
            self._transport.acknowledge(message)  # the broker has the label
        if verdict == "taken" and self._answers_early:
            self._answer_if_sure(feature.request_id, heads)

    def _answer_if_sure(self, request_id: bytes, heads: CameraHeads) -> None:
        """Answer a request that waits for parts which would not change its labels."""
        now = time.monotonic()
        request = self._collector.get(request_id)
        if request is None or self._presence.expected(now) <= request.parts:
            return
        group = request.fullest
        if (
            group.bundle == heads.fingerprint
            and self._min_parts <= len(group.features) < heads.parts
            and self._early.are_sure(request.camera, group, heads)
        ):
            self._collector.close(request, now)
            self._counters.count("early")
            self._answer(request, early=True)

    def _other_bundle(self, fingerprint: str) -> str:
        return (
            f"made with bundle {fingerprint!r}, this fleet fuses {self._identity.fingerprint}: "
            "copy the same bundle to every board"
        )

    def _answer(self, request: Request, *, early: bool = False) -> None:
        group = request.fullest
        if len(group.features) < self._min_parts:
            self._counters.count("unanswered")
            logger.warning("%s: no label from %d parts", request.camera, len(group.features))
            self._pending_acks.acknowledge(request.request_id)
            return
        heads = self._fusions.get(group.bundle)
        acknowledge = partial(self._pending_acks.acknowledge, request.request_id)
        if heads is None:  # several releases ago
            error = MessageError("other_bundle", f"bundle {group.bundle} was replaced")
            self._give_up(request.camera, acknowledge, error)
            return
        crop = next(iter(group.features.values())).crop
        looking = heads.looking_at(request.camera, crop)
        labels = [make_label(request, group, heads, fusion, early=early) for fusion in looking]
        if not labels:  # the heads changed meanwhile
            acknowledge()
            return
        done = acknowledge
        if request.patience_s and len(group.features) < heads.parts:
            done = partial(self._enough.after, request.request_id, acknowledge)
        after_all = AfterAll((label.head for label in labels), done)
        of_camera = heads.of(request.camera)
        main = of_camera[0].head
        if self._publish(labels[0], main, request, after_all):
            for stage, milliseconds in labels[0].latency_ms.items():
                self.durations[stage].add(milliseconds)
            self._observer.see_camera(request.camera, {f.head: f.classes for f in of_camera})
        for label in labels[1:]:
            self._publish(label, main, request, after_all)
        seen = seen_at(request, group)
        for label in labels:
            self._states.take(label, seen, self._counters)

    def _publish(self, label: Label, main: str, request: Request, after_all: AfterAll) -> bool:
        """Publish one label; whether the broker will get it. Either way it holds up nothing."""
        camera = request.camera
        other = self._topics.head_label(camera, label.head)
        topic = self._topics.label(camera) if label.head == main else other
        done = partial(after_all.done, label.head)
        give_up = partial(self._give_up, request.camera, done)
        try:
            self._transport.publish(
                topic,
                label.encode(),
                qos=1,
                retain=True,
                on_puback=done if request.is_every or request.patience_s else None,
                on_given_up=give_up,
            )
        except InputError as error:
            give_up(error)
            return False
        self._counters.count("labels")
        if label.degraded:
            self._counters.count("degraded")
        logger.info(
            "%s: %s (%.0f %%), parts %d/%d",
            label.camera,
            label.label,
            100 * label.confidence,
            len(label.parts_used),
            label.parts,
        )
        return True

    def _give_up(self, camera: str, done: Callable[[], None], error: InputError) -> None:
        self._counters.refuse(error, f"label of camera {camera!r}")
        done()

    def _status(self, state: State, age_s: float) -> AggregatorStatus:
        return msgspec.structs.replace(
            self._identity,
            state=state,
            uptime_s=age_s,
            features=self._counters["features"],
            labels=self._counters["labels"],
            degraded=self._counters["degraded"],
            late=self._counters["late"],
            duplicate=self._counters["duplicate"],
            dropped=self._counters["dropped"],
            unsent=self._transport.unsent,
            refused=self._counters.refused,
            parts_online=tuple(sorted(self._presence.alive(time.monotonic()))),
            deadline_s=round(self._deadline.seconds, 3),
            unanswered=self._counters["unanswered"],
            unfinished=len(self._pending_acks),
            early=self._counters["early"],
            problem=self.reporter.problem,
        )
