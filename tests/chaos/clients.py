"""A camera that promises, and a viewer that misses nothing: neither is ever killed."""

import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from devit_iot.config.config import BrokerConfig
from devit_iot.protocol.label import Label
from devit_iot.protocol.status import AggregatorStatus, NodeStatus
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message, Session
from devit_iot.transport.mqtt import MqttTransport

TOPICS = Topics("test")
MAX_UNDER_WAY = 50
WAIT_S = 60.0


class Client(ABC):
    """A client that hears labels and statuses; what it does with labels is up to its kind.

    Args:
        url: the broker's URL.
        session_s: seconds for which the broker keeps its session.
    """

    def __init__(self, url: str, session_s: int) -> None:
        self.nodes: dict[str, NodeStatus] = {}
        self.aggregator: AggregatorStatus | None = None
        self._room = threading.Semaphore(MAX_UNDER_WAY)
        self._transport = MqttTransport(
            BrokerConfig(url=url), client_id="outside", session=Session(session_s, 1000)
        )
        self._transport.subscribe(TOPICS.labels, self._on_label, qos=1)
        self._transport.subscribe(TOPICS.node_statuses, self._on_node)
        self._transport.subscribe(TOPICS.aggregator_status("+"), self._on_aggregator)

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Be connected inside the block."""
        ready = threading.Event()
        self._transport.start(on_ready=ready.set, on_refused=lambda _error: None)
        assert ready.wait(WAIT_S)
        try:
            yield
        finally:
            self._transport.stop()

    @property
    def online(self) -> set[str]:
        """Names of the nodes that say they are online, and the aggregator."""
        names = {name for name, status in list(self.nodes.items()) if status.state == "online"}
        if self.aggregator is not None and self.aggregator.state == "online":
            names.add("aggregator")
        return names

    def _take_turn(self) -> None:
        """Wait while the broker has not taken over 50 earlier images of QoS 1."""
        assert self._room.acquire(timeout=WAIT_S)

    def _publish_in_turn(self, topic: str, payload: bytes) -> None:
        """Publish an image at QoS 1, after its turn was taken."""
        self._transport.publish(topic, payload, qos=1, on_puback=self._room.release)

    @abstractmethod
    def _on_label(self, message: Message) -> None:
        """Take a label, perhaps a retained one."""

    def _on_node(self, message: Message) -> None:
        self.nodes[TOPICS.node_of(message.topic)] = NodeStatus.decode(message.payload)

    def _on_aggregator(self, message: Message) -> None:
        self.aggregator = AggregatorStatus.decode(message.payload)


class Outside(Client):
    """Publishes images and remembers every label.

    Attributes:
        sent: request ids, in hex.
        labels: request id -> its labels, in the order of coming.
        seen: request id -> when its first label came, monotonic seconds.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, 3600)
        self.sent: list[str] = []
        self.labels: dict[str, list[Label]] = {}
        self.seen: dict[str, float] = {}

    def publish_every(self, camera: str, payload: bytes) -> None:
        """Publish an image at QoS 1."""
        self._take_turn()
        request_id = uuid.uuid4().hex
        self.sent.append(request_id)
        self._publish_in_turn(f"cameras/{camera}/image/{request_id}", payload)

    @property
    def unsent(self) -> int:
        """Images that the link did not take."""
        return self._transport.unsent

    def show(self, camera: str, payload: bytes, request_id: str) -> None:
        """Publish an image at QoS 0, as most cameras do."""
        self._transport.publish(f"cameras/{camera}/image/{request_id}", payload)

    @property
    def missing(self) -> set[str]:
        """Requests without a label."""
        return set(self.sent) - self.labels.keys()

    @property
    def duplicates(self) -> int:
        """Labels beyond the first of their request."""
        return sum(len(labels) - 1 for labels in self.labels.values())

    def parts_used(self) -> Counter[int]:
        """How many first labels rest on how many parts."""
        return Counter(len(labels[0].parts_used) for labels in self.labels.values())

    def _on_label(self, message: Message) -> None:
        if not message.retained:
            label = Label.decode(message.payload)
            self.seen.setdefault(label.request_id, time.monotonic())
            self.labels.setdefault(label.request_id, []).append(label)
