"""Times what a node does for an image beside decoding and computing: it receives, and it sends.

A thread of this process stands in for the broker: it publishes an image to our MQTT client and
waits for the feature, as over a network that takes no time.
"""

import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from devit_iot.config.config import BrokerConfig
from devit_iot.errors import BrokerError
from devit_iot.protocol import request
from devit_iot.protocol.feature import Feature, Timing
from devit_iot.protocol.image_message import unwrap_image
from devit_iot.transport.base import Message, Session
from devit_iot.transport.mqtt import MqttTransport

_TOPIC = "cameras/door/image"
_WAIT_S = 10.0
_CONNECT, _PUBLISH, _SUBSCRIBE = 1, 3, 8
_CONNACK = b"\x20\x03\x00\x00\x00"
_SUBACK = b"\x90\x04%c%c\x00\x00"
_PUBLISH_BYTE = 0x30
_FEATURE_DIM = 384


class Echo:
    """A client that answers each image with a feature, and what stands in for its broker."""

    def __init__(self, server: socket.socket) -> None:
        port = server.getsockname()[1]
        self._images: queue.Queue[Message | None] = queue.Queue()
        self._transport = MqttTransport(
            BrokerConfig(url=f"mqtt://127.0.0.1:{port}"),
            client_id="devit-profile",
            session=Session(max_packet=2**25),
        )
        self._transport.subscribe(_TOPIC, self._images.put)
        self._worker = threading.Thread(target=self._answer, daemon=True)
        self._transport.start(on_ready=lambda: None, on_refused=lambda _: None)
        self._link, _ = server.accept()
        self._link.settimeout(_WAIT_S)
        self._link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._shake_hands()
        self._worker.start()

    def round_trip(self, image: bytes) -> None:
        """Publish an image to the client and wait for its feature."""
        topic = _TOPIC.encode()
        body = len(topic).to_bytes(2, "big") + topic + b"\x00" + image
        self._link.sendall(bytes([_PUBLISH_BYTE]) + _varint(len(body)) + body)
        self._until(_PUBLISH)

    def close(self) -> None:
        """End both."""
        self._images.put(None)
        self._worker.join(_WAIT_S)
        self._link.close()
        self._transport.stop()

    def _shake_hands(self) -> None:
        self._until(_CONNECT)
        self._link.sendall(_CONNACK)
        packet = self._until(_SUBSCRIBE)
        self._link.sendall(_SUBACK % (packet[0], packet[1]))

    def _until(self, kind: int) -> bytes:
        """The body of the next packet of a kind; others are passed over."""
        while True:
            first = self._exactly(1)[0]
            length, shift = 0, 0
            while True:
                digit = self._exactly(1)[0]
                length |= (digit & 0x7F) << shift
                shift += 7
                if not digit & 0x80:
                    break
            body = self._exactly(length)
            if first >> 4 == kind:
                return body

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            more = self._link.recv(count - len(found))
            if not more:
                raise BrokerError("the MQTT client hung up while it was timed")
            found += more
        return found

    def _answer(self) -> None:
        """What a node does, less decoding and computing."""
        while (message := self._images.get()) is not None:
            feature = Feature(
                request_id=request.request_id(message.topic, unwrap_image(message.payload)),
                fingerprint=bytes(8),
                part=0,
                parts=1,
                camera="door",
                received_ms=0,
                timing=Timing(0, 0, 0),
                values=np.zeros(_FEATURE_DIM, np.float32),
            )
            self._transport.publish("features", feature.encode())


@contextmanager
def echoing() -> Iterator[Echo]:
    """An echo that is connected.

    Raises:
        BrokerError: the client hung up.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(_WAIT_S)
        echo = Echo(server)
        try:
            yield echo
        finally:
            echo.close()


def _varint(value: int) -> bytes:
    """MQTT's variable byte integer."""
    digits = []
    while True:
        value, digit = divmod(value, 0x80)
        digits.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(digits)
