"""Two steady cameras, one of each delivery, and a viewer that times the labels."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import NamedTuple

from devit_iot.config import BrokerConfig
from devit_iot.messages import AggregatorStatus, Label, NodeStatus
from devit_iot.transport.base import Message, Session
from devit_iot.transport.mqtt import MqttTransport
from tests.chaos.clients import MAX_UNDER_WAY, TOPICS
from tests.e2e.watching import IMAGES
from tests.fleets import wait_until

CONFIG = """\
[log]
level = "warning"

[broker]
session_s = 60  # for how long an aggregator remembers answered requests: full after a minute

[[images]]
topic = "latest/{camera}/{request}"

[[images]]
topic = "every/{camera}/{request}"
delivery = "every"
"""
KINDS = ("latest", "every")
_WAIT_S = 60.0
_OPEN = 16
_MOST_OPEN = 500
"""Images of ``every`` without a label: beyond it the cameras wait, on a machine that became slower.
The broker's queue holds 2000."""


class Age(NamedTuple):
    """Of one label: when it came, monotonic seconds, and how long its image took to it."""

    when: float
    seconds: float


class Traffic:
    """Publishes the demo's images and remembers nothing of them but when they were answered.

    Attributes:
        sent: images by camera; the cameras are called like their delivery.
        ages: of the first label of each image, by camera.
        again: labels beyond the first of their image.
        degraded: first labels that lack a part.
        online: names of nodes that are, and the aggregator.
    """

    def __init__(self, url: str) -> None:
        self.sent = dict.fromkeys(KINDS, 0)
        self.ages: dict[str, list[Age]] = {kind: [] for kind in KINDS}
        self.again = 0
        self.degraded = 0
        self.online: set[str] = set()
        self._payloads = cycle([image.payload for image in IMAGES])
        self._open: dict[str, tuple[str, float]] = {}
        self._room = threading.Semaphore(MAX_UNDER_WAY)
        self._transport = MqttTransport(
            BrokerConfig(url=url), client_id="outside", session=Session(60, 1000)
        )
        self._transport.subscribe(TOPICS.labels, self._on_label, qos=1)
        self._transport.subscribe(TOPICS.node_statuses, self._on_node)
        self._transport.subscribe(TOPICS.aggregator_status("+"), self._on_aggregator)

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Be connected inside the block."""
        ready = threading.Event()
        self._transport.start(on_ready=ready.set, on_refused=lambda _error: None)
        assert ready.wait(_WAIT_S)
        try:
            yield
        finally:
            self._transport.stop()

    def capacity(self, count: int) -> float:
        """Images per second while 16 requests of ``every`` are always open."""
        begin = time.monotonic()
        for _ in range(count):
            wait_until(lambda: len(self._open) < _OPEN, _WAIT_S)
            self._publish("every")
        wait_until(lambda: not self._open, _WAIT_S)
        rate = count / (time.monotonic() - begin)
        self.sent = dict.fromkeys(KINDS, 0)
        self.ages = {kind: [] for kind in KINDS}
        return rate

    def run(self, seconds: float, rate: float, tick: Callable[[float], None]) -> None:
        """Publish ``rate`` images a second, of each camera in turn, and call ``tick`` as often."""
        begin = due = time.monotonic()
        kinds = cycle(KINDS)
        while (now := time.monotonic()) < begin + seconds:
            tick(now - begin)
            if self.sent["every"] - len(self.ages["every"]) < _MOST_OPEN:
                self._publish(next(kinds))
            due = max(due + 1 / rate, now)
            time.sleep(max(0.0, due - time.monotonic()))

    @property
    def unanswered(self) -> int:
        """Images of ``every`` without a label."""
        return sum(kind == "every" for kind, _ in list(self._open.values()))

    def _publish(self, kind: str) -> None:
        request_id = uuid.uuid4().hex
        topic = f"{kind}/{kind}/{request_id}"
        self.sent[kind] += 1
        if kind == "every":
            assert self._room.acquire(timeout=_WAIT_S)
        self._open[request_id] = (kind, time.monotonic())
        if kind == "every":
            done = self._room.release
            self._transport.publish(topic, next(self._payloads), qos=1, on_stored=done)
        else:
            self._transport.publish(topic, next(self._payloads))

    def _on_label(self, message: Message) -> None:
        if message.retained:
            return
        now = time.monotonic()
        label = Label.decode(message.payload)
        kind, published = self._open.pop(label.request_id, ("", 0.0))
        if kind:
            self.ages[kind].append(Age(now, now - published))
            self.degraded += label.degraded
        else:
            self.again += 1

    def _on_node(self, message: Message) -> None:
        status = NodeStatus.decode(message.payload)
        self._note(status.node, online=status.state == "online")

    def _on_aggregator(self, message: Message) -> None:
        status = AggregatorStatus.decode(message.payload)
        self._note("aggregator", online=status.state == "online")

    def _note(self, name: str, *, online: bool) -> None:
        if online:
            self.online.add(name)
        else:
            self.online.discard(name)
