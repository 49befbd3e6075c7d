"""The aggregator: features of all parts in, labels out."""

import contextlib
import logging
import queue
import threading
import time

import msgspec

from devit_iot.config import AggregatorConfig
from devit_iot.engine.fusion import Fusion
from devit_iot.errors import BrokerError, InputError, MessageError
from devit_iot.messages import AggregatorStatus, Feature, Label, NodeStatus, State
from devit_iot.services.collector import Collector, Request
from devit_iot.services.presence import Presence
from devit_iot.services.status import INTERVAL_S, StatusReporter
from devit_iot.services.tally import Tally
from devit_iot.topics import Topics
from devit_iot.transport.base import Message, Transport

logger = logging.getLogger(__name__)

_MAX_WAITING = 10_000


class Aggregator:
    """Fuses the features of each request and publishes its label.

    A request is answered when all parts that are alive have sent their feature, or at the
    deadline. The network thread only hands messages over; all state belongs to :meth:`run`.

    Args:
        identity: the aggregator's status without counters: shard, bundle.
        fusion: the bundle's.
        transport: not started yet; its will says that this aggregator is offline.
    """

    def __init__(
        self,
        identity: AggregatorStatus,
        fusion: Fusion,
        transport: Transport,
        *,
        topics: Topics,
        config: AggregatorConfig,
    ) -> None:
        self._identity = identity
        self._fingerprint = bytes.fromhex(identity.fingerprint)
        self._fusion = fusion
        self._transport = transport
        self._topics = topics
        self._collector = Collector(
            deadline_s=config.deadline_s,
            lifetime_s=config.lifetime_s,
            max_open=config.max_open,
        )
        self._presence = Presence(identity.parts, time.monotonic())
        self._inbox: queue.Queue[tuple[float, Message] | None] = queue.Queue(_MAX_WAITING)
        self._tally = Tally(logger)
        self._stopping = threading.Event()
        self._failure: BrokerError | None = None
        self._reporter = StatusReporter(
            transport, topics.aggregator_status(config.shard), self._status
        )
        transport.subscribe(topics.node_statuses, self._hand_over, qos=1)
        transport.subscribe(topics.features(config.shard), self._hand_over)

    def run(self) -> None:
        """Serve until :meth:`stop`.

        Raises:
            BrokerError: the broker refused us for good.
        """
        identity = self._identity
        logger.info(
            "aggregator %s fuses %d parts, bundle %s",
            identity.shard,
            identity.parts,
            identity.fingerprint,
        )
        with self._reporter.connected(self._on_refused):
            while not self._stopping.is_set():
                self._step()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Make :meth:`run` return after the message in progress."""
        self._stopping.set()
        with contextlib.suppress(queue.Full):  # a full inbox wakes run() as well
            self._inbox.put_nowait(None)

    def _step(self) -> None:
        """Handle one message, or what became due meanwhile."""
        deadline = self._collector.next_deadline()
        wait = INTERVAL_S if deadline is None else deadline - time.monotonic()
        try:
            item = self._inbox.get(timeout=min(max(wait, 0.0), INTERVAL_S))
        except queue.Empty:
            item = None
        if item is not None:
            self._handle(*item)
        now = time.monotonic()
        for request in self._collector.due(now, self._presence.expected(now)):
            self._answer(request)
        self._reporter.refresh()

    def _hand_over(self, message: Message) -> None:
        try:
            self._inbox.put_nowait((time.monotonic(), message))
        except queue.Full:
            self._tally.count("dropped")

    def _handle(self, received: float, message: Message) -> None:
        try:
            node = self._topics.node_of(message.topic)
            if message.topic == self._topics.node_status(node):
                self._take_status(node, NodeStatus.decode(message.payload))
            else:
                self._take_feature(node, Feature.decode(message.payload), received)
        except InputError as error:
            self._tally.refuse(error, f"message on {message.topic[:100]!r}")

    def _take_status(self, node: str, status: NodeStatus) -> None:
        if status.state == "offline":
            self._presence.offline(node, status.part)
        elif status.fingerprint == self._identity.fingerprint:
            self._presence.online(node, status.part)
        else:
            self._presence.offline(node, status.part)
            raise MessageError("other_bundle", self._other_bundle(status.fingerprint))

    def _take_feature(self, node: str, feature: Feature, received: float) -> None:
        if feature.fingerprint != self._fingerprint:
            raise MessageError("other_bundle", self._other_bundle(feature.fingerprint.hex()))
        if feature.parts != self._identity.parts:
            raise MessageError(
                "part", f"feature of {feature.parts} parts, the bundle has {self._identity.parts}"
            )
        wanted = self._fusion.feature_dims[feature.part]
        if feature.values.size != wanted:
            raise MessageError(
                "length",
                f"feature of part {feature.part} has {feature.values.size} values, not {wanted}",
            )
        self._tally.count("features")
        self._presence.heard(node, feature.part, received)
        verdict = self._collector.add(feature, received)
        if verdict != "taken":
            self._tally.count(verdict)

    def _other_bundle(self, fingerprint: str) -> str:
        return (
            f"made with bundle {fingerprint!r}, this fleet fuses {self._identity.fingerprint}: "
            "copy the same bundle to every board"
        )

    def _answer(self, request: Request) -> None:
        begin = time.monotonic()
        logits = self._fusion.logits({i: f.values for i, f in request.features.items()})
        top5 = tuple(self._fusion.rank(logits))
        critical = request.features[request.last_part].timing
        parts_used = tuple(sorted(request.features))
        label = Label(
            request_id=request.request_id.hex(),
            camera=request.camera,
            label=top5[0].label,
            class_index=top5[0].class_index,
            confidence=top5[0].confidence,
            top5=top5,
            parts_used=parts_used,
            parts=self._identity.parts,
            degraded=len(parts_used) < self._identity.parts,
            latency_ms={
                "wait": round(critical.wait_us / 1e3, 3),
                "decode": round(critical.decode_us / 1e3, 3),
                "compute": round(critical.compute_us / 1e3, 3),
                "collect": round(1e3 * (request.last - request.first), 3),
                "fuse": round(1e3 * (time.monotonic() - begin), 3),
            },
        )
        self._transport.publish(
            self._topics.label(request.camera), label.encode(), qos=1, retain=True
        )
        self._tally.count("labels")
        if label.degraded:
            self._tally.count("degraded")
        logger.info(
            "%s: %s (%.0f %%), parts %d/%d",
            label.camera,
            label.label,
            100 * label.confidence,
            len(parts_used),
            label.parts,
        )

    def _on_refused(self, error: BrokerError) -> None:
        self._failure = error
        self.stop()

    def _status(self, state: State, age_s: float) -> AggregatorStatus:
        return msgspec.structs.replace(
            self._identity,
            state=state,
            uptime_s=age_s,
            features=self._tally["features"],
            labels=self._tally["labels"],
            degraded=self._tally["degraded"],
            late=self._tally["late"],
            duplicate=self._tally["duplicate"],
            dropped=self._tally["dropped"],
            unsent=self._transport.unsent,
            refused=self._tally.refused,
            parts_online=tuple(sorted(self._presence.alive(time.monotonic()))),
        )
