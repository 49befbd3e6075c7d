"""The cameras and the viewer of the fleets of ``scale.py``, and what stands in for their nodes."""

import threading
import time
import uuid
from typing import Self

import numpy as np

from devit_iot.bundle.reading import Bundle
from devit_iot.config.config import BrokerConfig
from devit_iot.errors import BrokerError
from devit_iot.protocol.feature import Feature, Timing
from devit_iot.protocol.label import Label
from devit_iot.protocol.status import NodeStatus
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message
from devit_iot.transport.mqtt import MqttTransport

TOPICS = Topics("scale")
WAIT_S = 120.0


class Cameras:
    """All cameras of a fleet, on one connection, and a viewer on another one.

    Args:
        url: the brokers.
        payload: image that every camera shows.
        every: whether images go out at QoS 1.

    Attributes:
        sent: request id -> when it was published, monotonic seconds.
        seen: request id -> when its first label came.
        degraded: number of labels that lack a part.
        online: names of nodes that share their work with others of their part, and topics of
            aggregators.
    """

    def __init__(self, url: str, payload: bytes, *, every: bool) -> None:
        self.sent: dict[str, float] = {}
        self.seen: dict[str, float] = {}
        self.degraded = 0
        self.online: set[str] = set()
        self._payload = payload
        self._qos = int(every)
        config = BrokerConfig(url=url, queue=100_000)
        self._sender = MqttTransport(config, client_id="scale-cameras")
        self._viewer = MqttTransport(config, client_id="scale-viewer")
        self._viewer.subscribe(TOPICS.labels, self._on_label)
        self._viewer.subscribe(TOPICS.node_statuses, self._on_node)
        self._viewer.subscribe(TOPICS.aggregator_status("+"), self._on_aggregator)

    def __enter__(self) -> Self:
        for transport in (self._viewer, self._sender):
            ready = threading.Event()
            transport.start(on_ready=ready.set, on_refused=lambda _error: None)
            if not ready.wait(WAIT_S):
                raise BrokerError("the broker lets nobody in")
        return self

    def __exit__(self, *_: object) -> None:
        self._sender.stop()
        self._viewer.stop()

    def show(self, *, cameras: int, rate: float, images: int) -> list[str]:
        """Publish at a steady rate, one camera after the other; return the request ids."""
        begin = time.monotonic()
        shown = []
        for number in range(images):
            time.sleep(max(0.0, begin + number / rate - time.monotonic()))
            request_id = uuid.uuid4().hex
            self.sent[request_id] = time.monotonic()
            shown.append(request_id)
            self._show(f"cam-{number % cameras}", request_id)
        return shown

    def _show(self, camera: str, request_id: str) -> None:
        self._sender.publish(f"cameras/{camera}/image/{request_id}", self._payload, qos=self._qos)

    def _on_label(self, message: Message) -> None:
        if not message.retained:
            label = Label.decode(message.payload)
            self.degraded += label.degraded
            self.seen.setdefault(label.request_id, time.monotonic())

    def _on_node(self, message: Message) -> None:
        status = NodeStatus.decode(message.payload)
        if status.state == "online" and status.shares:
            self.online.add(status.node)

    def _on_aggregator(self, message: Message) -> None:
        self.online.add(message.topic)


class Features(Cameras):
    """Publishes the features of all parts instead of images, as nodes would.

    Args:
        url: the brokers.
        bundle: bundle whose parts they are of.
        shards: number of aggregators.
        every: whether features go out at QoS 1.
    """

    def __init__(self, url: str, bundle: Bundle, *, shards: int, every: bool) -> None:
        super().__init__(url, b"", every=every)
        self._bundle = bundle
        self._shards = shards
        dims = bundle.manifest.fusion_spec.feature_dims
        self._values = [np.linspace(-1, 1, dim, dtype=np.float32) for dim in dims]

    def _show(self, camera: str, request_id: str) -> None:
        manifest = self._bundle.manifest
        identifier = bytes.fromhex(request_id)
        for part, values in enumerate(self._values):
            feature = Feature(
                identifier,
                bytes.fromhex(manifest.fingerprint),
                part,
                len(self._values),
                camera,
                int(1e3 * time.time()),
                Timing(),
                values,
                self._bundle.parts_fingerprint,
            )
            topic = TOPICS.feature(identifier[0] % self._shards, f"part-{part}")
            self._sender.publish(topic, feature.encode(), qos=self._qos)
