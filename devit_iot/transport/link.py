"""What is known of one connection to the broker, from CONNECT until it has ended."""

import time
from dataclasses import dataclass, field

from paho.mqtt.client import DisconnectFlags
from paho.mqtt.reasoncodes import ReasonCode

from devit_iot.transport.limits import Limits

_CUT = "Unspecified error"  # paho's reason when the peer closed the connection without a word


@dataclass
class Link:
    """One connection.

    Attributes:
        number: counts the connections: deliveries of earlier ones are void.
        acknowledged: the broker answered CONNACK.
        limits: what the broker takes.
        ready_at: when every subscription was granted, in monotonic seconds; None: never.
        hung_up: the broker ended the connection, not we and not a silence.
        stray: the broker delivered something that we did not ask for on this connection.
        farewell: the broker's reason for that, in parentheses; empty if it gave none.
    """

    number: int = 0
    acknowledged: bool = False
    limits: Limits = field(default_factory=Limits)
    ready_at: float | None = None
    hung_up: bool = False
    stray: bool = False
    farewell: str = ""

    @property
    def served_s(self) -> float:
        """The seconds for which it has been ready."""
        return 0.0 if self.ready_at is None else time.monotonic() - self.ready_at

    def ended(self, flags: DisconnectFlags, reason: ReasonCode) -> None:
        """Note why the connection ended."""
        name = reason.getName()
        self.hung_up = flags.is_disconnect_packet_from_server or name == _CUT
        if flags.is_disconnect_packet_from_server:
            self.farewell = f" ({name.lower()})"
