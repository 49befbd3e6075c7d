"""A client that publishes images and remembers labels and statuses."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from devit_iot.bundle.reading import Bundle
from devit_iot.config.config import BrokerConfig
from devit_iot.datasets.source import Sample, read_image_folder
from devit_iot.evaluation.local import LocalFleet
from devit_iot.protocol.label import Label
from devit_iot.protocol.status import AggregatorStatus, NodeStatus
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message
from devit_iot.transport.mqtt import MqttTransport
from tests.e2e.conftest import DEMO
from tests.support.fleets import wait_until

TOPICS = Topics("test")
IMAGES = list(read_image_folder(DEMO / "images.zip"))


def known_images() -> list[Sample]:
    """Those that the whole fleet gets right, computed in this process."""
    fleet = LocalFleet(Bundle(DEMO / "bundle"))
    return [s for s in IMAGES if fleet.classify(s.payload)[0].label == s.class_name]


class Viewer:
    """What a person with an MQTT client would see and do."""

    def __init__(self, url: str) -> None:
        self.labels: dict[str, Label] = {}
        self.count = 0
        self.nodes: dict[str, NodeStatus] = {}
        self.aggregator: AggregatorStatus | None = None
        self.transport = MqttTransport(BrokerConfig(url=url), client_id="viewer")
        self.transport.subscribe(TOPICS.labels, self._on_label)
        self.transport.subscribe(TOPICS.node_statuses, self._on_node)
        self.transport.subscribe(TOPICS.aggregator_status("+"), self._on_aggregator)

    def show(self, camera: str, payload: bytes) -> None:
        """Publish an image as an unchanged camera app does."""
        self.transport.publish(f"cameras/{camera}/image", payload)

    def ask(self, camera: str, payload: bytes) -> Label:
        """Publish an image and wait for its label."""
        self.show(camera, payload)
        wait_until(lambda: camera in self.labels)
        return self.labels[camera]

    @property
    def online(self) -> set[str]:
        """Names of the nodes that say they are online, and the aggregator."""
        names = {name for name, status in self.nodes.items() if status.state == "online"}
        if self.aggregator is not None and self.aggregator.state == "online":
            names.add("aggregator")
        return names

    def wait_online(self, nodes: int = 4) -> None:
        """Wait for the aggregator and so many nodes."""
        wait_until(lambda: len(self.online) == nodes + 1, 60)

    def _on_label(self, message: Message) -> None:
        label = Label.decode(message.payload)
        if not message.retained:
            self.count += 1
        self.labels[label.camera] = label

    def _on_node(self, message: Message) -> None:
        self.nodes[TOPICS.node_of(message.topic)] = NodeStatus.decode(message.payload)

    def _on_aggregator(self, message: Message) -> None:
        self.aggregator = AggregatorStatus.decode(message.payload)


@contextmanager
def watching(
    url: str, also: str = "", on_topic: Callable[[str], None] = lambda _topic: None
) -> Iterator[Viewer]:
    """Connect; tell the topics of what arrives on the filter ``also`` too."""
    viewer = Viewer(url)
    if also:
        viewer.transport.subscribe(also, lambda message: on_topic(message.topic))
    ready = threading.Event()
    viewer.transport.start(on_ready=ready.set, on_refused=lambda _error: None)
    assert ready.wait(20)
    try:
        yield viewer
    finally:
        viewer.transport.stop()
