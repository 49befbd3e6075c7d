"""A broker in this process, for tests: delivery is a plain function call."""

from collections.abc import Callable

from paho.mqtt.client import topic_matches_sub

from devit_iot.errors import BrokerError
from devit_iot.transport.base import Handler, Message, Will


class MemoryBroker:
    """Topics, wildcards, retained messages and wills, without a network."""

    def __init__(self) -> None:
        self.retained: dict[str, bytes] = {}
        self.log: list[tuple[str, bytes]] = []
        self.clients: list[MemoryTransport] = []

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Deliver to every matching subscription, in the caller's thread."""
        self.log.append((topic, payload))
        if retain:
            self.retained[topic] = payload
        for client in list(self.clients):
            client.deliver(Message(topic, payload, retained=False))


class MemoryTransport:
    """See :class:`devit_iot.transport.base.Transport`."""

    def __init__(self, broker: MemoryBroker, *, will: Will | None = None) -> None:
        self.unsent = 0
        self._broker = broker
        self._will = will
        self._handlers: list[tuple[str, Handler]] = []

    def subscribe(self, topic_filter: str, handler: Handler, *, qos: int = 0) -> None:
        """See the protocol."""
        del qos
        self._handlers.append((topic_filter, handler))

    def start(
        self, *, on_ready: Callable[[], None], on_refused: Callable[[BrokerError], None]
    ) -> None:
        """See the protocol; retained messages are delivered before ``on_ready``."""
        del on_refused
        self._broker.clients.append(self)
        for topic, payload in list(self._broker.retained.items()):
            self.deliver(Message(topic, payload, retained=True))
        on_ready()

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """See the protocol."""
        del qos
        self._broker.publish(topic, payload, retain=retain)

    def stop(self) -> None:
        """See the protocol."""
        if self in self._broker.clients:
            self._broker.clients.remove(self)

    def vanish(self) -> None:
        """Be gone without a goodbye: the broker publishes the will."""
        self.stop()
        if self._will is not None:
            self._broker.publish(self._will.topic, self._will.payload, retain=True)

    def deliver(self, message: Message) -> None:
        """Call the handlers whose filter matches."""
        for topic_filter, handler in self._handlers:
            if topic_matches_sub(topic_filter, message.topic):
                handler(message)
