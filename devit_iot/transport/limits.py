"""What the broker takes of us on one connection, as its CONNACK says (MQTT 5, section 3.2.2.3)."""

from typing import NamedTuple, Self

from paho.mqtt.properties import Properties

from devit_iot.errors import MessageError
from devit_iot.transport.outgoing import Outgoing

MAX_IN_FLIGHT = 20
"""QoS 1 messages that wait for their acknowledgement at once, where the broker takes as many."""
LARGEST_PACKET = 268_435_455
"""Bytes of the longest packet that MQTT can say."""


class Limits(NamedTuple):
    """The limits of one connection; a broker of MQTT 3.1.1 names none, so the defaults hold for it.

    Attributes:
        window: QoS 1 messages that may wait for their acknowledgement (Receive Maximum).
        max_qos: the highest quality of service of a publish, 0 or 1.
        retain: whether the broker keeps retained messages.
        max_packet: bytes of the longest packet.
    """

    window: int = MAX_IN_FLIGHT
    max_qos: int = 1
    retain: bool = True
    max_packet: int = LARGEST_PACKET

    @classmethod
    def of(cls, properties: Properties | None) -> Self:
        """Read the properties of a CONNACK; a property that is absent leaves its default."""
        return cls(
            window=min(MAX_IN_FLIGHT, getattr(properties, "ReceiveMaximum", MAX_IN_FLIGHT)),
            max_qos=min(1, getattr(properties, "MaximumQoS", 1)),
            retain=bool(getattr(properties, "RetainAvailable", 1)),
            max_packet=getattr(properties, "MaximumPacketSize", LARGEST_PACKET),
        )

    def objection(self, message: Outgoing) -> MessageError | None:
        """Why the broker would hang up for this message; None if it would not."""
        what = f"message of {len(message.payload)} bytes on {message.topic[:100]!r}"
        if message.packet_bytes > self.max_packet:
            return MessageError(
                "packet_size", f"{what}; the broker takes packets of {self.max_packet} at most"
            )
        if message.retain and not self.retain:
            return MessageError("retain", f"{what}; the broker keeps no retained messages")
        if message.on_puback is not None and not self.max_qos:
            return MessageError("qos", f"{what}; the broker takes QoS 0 alone, so it may lose it")
        return None
