"""Clients that send what ours would not."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

_WAIT_S = 60.0
CONNECT = bytes.fromhex("10 13 00 04 4d515454 04 02 003c 0007 7374 72616e6765")  # MQTT 3.1.1
CONNACK = b"\x20\x02\x00\x00"


class Sender:
    """Publishes anything on any topic, at QoS 1 so that it knows when the broker has it."""

    def __init__(self, client: paho.Client) -> None:
        self._client = client

    def send(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, odd: bool = False
    ) -> None:
        """Publish; ``odd``: with every property of MQTT 5 that a message may have."""
        info = self._client.publish(topic, payload, qos, retain, _properties() if odd else None)
        info.wait_for_publish(_WAIT_S)
        assert info.is_published()


@contextmanager
def sender(url: str, protocol: MQTTProtocolVersion) -> Iterator[Sender]:
    """A connected one."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=protocol)
    address = urlsplit(url)
    client.connect(str(address.hostname), int(address.port or 0))
    client.loop_start()
    try:
        yield Sender(client)
    finally:
        client.disconnect()
        client.loop_stop()


def _properties() -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.PayloadFormatIndicator = 1  # text, which most of it is not
    properties.MessageExpiryInterval = 3600
    properties.ResponseTopic = "devit/v1/test/nodes/node-0/status"
    properties.CorrelationData = bytes(range(256)) * 16
    properties.UserProperty = [("\u202ename", "\ufeffvalue" * 50)] * 50
    properties.ContentType = "image/png; \u2028"
    return properties


def is_thrown_out(url: str, topic: bytes) -> bool:
    """Whether the broker ends the connection of whoever publishes on ``topic``."""
    address = urlsplit(url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), _WAIT_S) as link:
        link.sendall(CONNECT)
        assert link.recv(4) == CONNACK
        body = len(topic).to_bytes(2, "big") + topic + b"rubbish"
        assert len(body) < 128  # one byte of length
        link.sendall(b"\x30" + bytes((len(body),)) + body + b"\xc0\0")  # a PINGREQ follows
        try:
            return link.recv(100) != b"\xd0\0"
        except ConnectionResetError:
            return True
