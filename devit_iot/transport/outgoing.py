"""One QoS 1 message that is published."""

from collections.abc import Callable
from typing import NamedTuple

from devit_iot.errors import MessageError


class Outgoing(NamedTuple):
    """A message; with ``on_puback`` it must not be lost.

    Attributes:
        on_puback: called once, when the broker has taken the message over.
        on_given_up: called instead, if the broker will never take it.
    """

    topic: str
    payload: bytes
    retain: bool
    on_puback: Callable[[], None] | None
    on_given_up: Callable[[MessageError], None]

    @property
    def packet_bytes(self) -> int:
        """The length of its packet, or a few bytes more."""
        return len(self.topic.encode()) + len(self.payload) + 16
