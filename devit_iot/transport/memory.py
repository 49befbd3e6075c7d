"""A broker in this process, for tests: delivery is a plain function call."""

import itertools
from collections.abc import Callable

from paho.mqtt.client import topic_matches_sub

from devit_iot.errors import BrokerError, MessageError
from devit_iot.transport.base import DeliveryId, Handler, Message, Will
from devit_iot.transport.subscriptions import Subscription


class MemoryBroker:
    """Topics, wildcards, retained messages, wills and acknowledgements, without a network.

    Attributes:
        acknowledging: while False, ``on_puback`` of what is published waits, as if the broker were
            slow.
    """

    def __init__(self) -> None:
        self.retained: dict[str, bytes] = {}
        self.log: list[tuple[str, bytes]] = []
        self.clients: list[MemoryTransport] = []
        self.acknowledging = True
        self._unacknowledged: list[Callable[[], None]] = []

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 0) -> None:
        """Deliver to every matching subscription, in the caller's thread."""
        self.log.append((topic, payload))
        if retain and payload:
            self.retained[topic] = payload
        elif retain:
            self.retained.pop(topic, None)
        for client in list(self.clients):
            client.deliver(Message(topic, payload, retained=False), qos)

    @property
    def all_acknowledged(self) -> bool:
        """Whether no message waits for :meth:`acknowledge_all`."""
        return not self._unacknowledged

    def acknowledge(self, on_puback: Callable[[], None]) -> None:
        """Acknowledge a publisher's message now, or at :meth:`acknowledge_all`."""
        if self.acknowledging:
            on_puback()
        else:
            self._unacknowledged.append(on_puback)

    def acknowledge_all(self) -> None:
        """Acknowledge what waits for it."""
        waiting, self._unacknowledged = self._unacknowledged, []
        for on_puback in waiting:
            on_puback()


class MemoryTransport:
    """See :class:`devit_iot.transport.base.Transport`; its session ends with the object.

    Attributes:
        unacknowledged: messages that wait for :meth:`acknowledge`, by number.
    """

    def __init__(self, broker: MemoryBroker, *, will: Will | None = None) -> None:
        self.unsent = 0
        self.refused = 0
        self.problem = ""
        self.connected = False
        self.unacknowledged: dict[int, Message] = {}
        self._broker = broker
        self._will = will
        self._subscriptions: list[Subscription] = []
        self._connection = 0
        self._numbers = itertools.count(1)

    @property
    def persisted(self) -> bool:
        """See :attr:`devit_iot.transport.base.Transport.persisted`."""
        return self._broker.all_acknowledged

    def subscribe(
        self,
        topic_filter: str,
        handler: Handler,
        *,
        qos: int = 0,
        manual_ack: bool = False,
        required: bool = True,
    ) -> None:
        """See :meth:`devit_iot.transport.base.Transport.subscribe`."""
        self._subscriptions.append(Subscription(topic_filter, handler, qos, manual_ack, required))

    def start(
        self, *, on_ready: Callable[[], None], on_refused: Callable[[BrokerError], None]
    ) -> None:
        """Deliver retained messages, then call ``on_ready``; the broker is always there."""
        del on_refused
        self._broker.clients.append(self)
        for topic, payload in list(self._broker.retained.items()):
            self.deliver(Message(topic, payload, retained=True), 1)
        self.connected = True
        on_ready()

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 0,
        retain: bool = False,
        on_puback: Callable[[], None] | None = None,
        on_given_up: Callable[[MessageError], None] | None = None,
    ) -> None:
        """See :meth:`devit_iot.transport.base.Transport.publish`. Nothing is ever given up."""
        del on_given_up
        self._broker.publish(topic, payload, retain=retain, qos=qos)
        if on_puback is not None:
            self._broker.acknowledge(on_puback)

    def acknowledge(self, message: Message) -> None:
        """See :meth:`devit_iot.transport.base.Transport.acknowledge`."""
        if message.delivery is not None and message.delivery.connection == self._connection:
            self.unacknowledged.pop(message.delivery.number, None)

    def stop(self) -> None:
        """See :meth:`devit_iot.transport.base.Transport.stop`."""
        self.connected = False
        if self in self._broker.clients:
            self._broker.clients.remove(self)

    def vanish(self) -> None:
        """Be gone without a goodbye: the broker publishes the will."""
        self.stop()
        if self._will is not None:
            self._broker.publish(self._will.topic, self._will.payload, retain=True)

    def redeliver(self) -> None:
        """See :meth:`devit_iot.transport.base.Transport.redeliver`."""
        self._connection += 1
        again, self.unacknowledged = self.unacknowledged, {}
        for message in again.values():
            self.deliver(message._replace(delivery=None), 1)

    def deliver(self, message: Message, qos: int) -> None:
        """Call the handlers whose filter matches."""
        for wanted in self._subscriptions:
            if topic_matches_sub(wanted.topic_filter, message.topic):
                manual_ack = wanted.manual_ack and qos and wanted.qos
                wanted.handler(self._delivered(message) if manual_ack else message)

    def _delivered(self, message: Message) -> Message:
        delivery = DeliveryId(self._connection, next(self._numbers))
        delivered = self.unacknowledged[delivery.number] = message._replace(delivery=delivery)
        return delivered
