"""What a client asks the broker for, on each connection anew, and what is not granted yet."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from devit_iot.transport.base import Handler


class Subscription(NamedTuple):
    """The arguments of :meth:`devit_iot.transport.base.Transport.subscribe`."""

    topic_filter: str
    handler: Handler
    qos: int
    manual_ack: bool
    required: bool


class Client(Protocol):
    """What is needed of paho's client."""

    def subscribe(self, topic: str, qos: int) -> tuple[object, int | None]:
        """Send SUBSCRIBE; return an error code and the packet's number."""


class Subscriptions:
    """The subscriptions of one client."""

    def __init__(self) -> None:
        self._all: list[Subscription] = []
        self._asked: dict[int, Subscription] = {}  # by the number of their SUBSCRIBE

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._all)

    @property
    def answered(self) -> bool:
        """Whether the broker has answered to all of them."""
        return not self._asked

    def add(self, subscription: Subscription) -> None:
        """One more, from the next connection on."""
        self._all.append(subscription)

    def ask(self, client: Client) -> None:
        """Send all of them, on a new connection."""
        self._asked.clear()
        for wanted in self._all:
            _, number = client.subscribe(wanted.topic_filter, wanted.qos)
            if number is not None:
                self._asked[number] = wanted

    def take(self, number: int) -> Subscription | None:
        """The one that the broker has answered to; None if it is not of this connection."""
        return self._asked.pop(number, None)
