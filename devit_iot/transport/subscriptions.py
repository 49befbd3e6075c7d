"""What a client asks the broker for, on each connection anew, and what is not granted yet."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from paho.mqtt.matcher import MQTTMatcher

from devit_iot.transport.base import Handler

REMEMBERED = 512
"""Topics whose subscriptions are remembered."""


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
        self._matcher = MQTTMatcher()  # type: ignore[no-untyped-call]
        self._by_topic: dict[str, tuple[Subscription, ...]] = {}

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._all)

    @property
    def answered(self) -> bool:
        """Whether the broker has answered to all of them."""
        return not self._asked

    def add(self, subscription: Subscription) -> None:
        """One more, from the next connection on."""
        self._all.append(subscription)
        matcher = MQTTMatcher()  # type: ignore[no-untyped-call]
        for wanted in self._all:
            matcher[wanted.topic_filter] = wanted
        self._matcher = matcher
        self._by_topic = {}

    @property
    def remembered(self) -> int:
        """Number of topics whose subscriptions are remembered."""
        return len(self._by_topic)

    def of(self, topic: str) -> tuple[Subscription, ...]:
        """Those that match a topic, the latest one of each filter; one thread may ask.

        Most messages come on few topics again and again, so the answers are remembered.
        """
        known = self._by_topic  # a subscription that comes meanwhile begins another one
        found = known.get(topic)
        if found is None:
            found = tuple(self._matcher.iter_match(topic))  # type: ignore[no-untyped-call]
            if len(known) >= REMEMBERED:
                known.clear()
            known[topic] = found
        return found

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
