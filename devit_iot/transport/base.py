"""The seam between the services and the network."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from devit_iot.errors import BrokerError


class Message(NamedTuple):
    """One message as it arrived. ``retained``: the broker kept it from before we subscribed."""

    topic: str
    payload: bytes
    retained: bool


class Will(NamedTuple):
    """What the broker publishes for us, retained, when we vanish."""

    topic: str
    payload: bytes


Handler = Callable[[Message], None]


class Transport(Protocol):
    """A connection to one broker that heals itself. Safe to use from several threads.

    Attributes:
        unsent: publishes that were dropped because the broker was away and the queue full.
    """

    unsent: int

    def subscribe(self, topic_filter: str, handler: Handler, *, qos: int = 0) -> None:
        """Call ``handler`` on the network thread for each message; call before :meth:`start`.

        A handler only checks and hands over: what it raises is logged and costs that message.
        """

    def start(
        self, *, on_ready: Callable[[], None], on_refused: Callable[[BrokerError], None]
    ) -> None:
        """Connect in the background, and again whenever the connection is lost.

        Args:
            on_ready: called after each (re)connection, once every subscription is granted.
            on_refused: called once if the broker refuses us for good, for instance for a wrong
                password; an unreachable broker is tried again for ever instead.
        """

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """Send a message, or queue it (QoS 1) or drop it (QoS 0) while the broker is away."""

    def stop(self) -> None:
        """Send what is queued, for at most two seconds, and disconnect without the will."""
