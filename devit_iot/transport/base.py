"""The seam between the services and the network."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from devit_iot.errors import BrokerError, MessageError


class DeliveryId(NamedTuple):
    """Names one delivery of a message; worth nothing after its connection ended."""

    connection: int
    number: int


class Message(NamedTuple):
    """One message as it arrived.

    Attributes:
        retained: the broker kept it from before we subscribed.
        delivery: argument of :meth:`Transport.acknowledge`; None if there is nothing to
            acknowledge.
    """

    topic: str
    payload: bytes
    retained: bool
    delivery: DeliveryId | None = None

    @property
    def is_deletion(self) -> bool:
        """Whether it takes what the broker retains on its topic away (MQTT 5, section 3.3.1.3).

        Whoever subscribes gets it too; it is empty, and nothing is wrong with it.
        """
        return not self.payload


class Will(NamedTuple):
    """What the broker publishes for us, retained, when we vanish."""

    topic: str
    payload: bytes


class Session(NamedTuple):
    """What the broker keeps for a client that is away.

    Attributes:
        expiry_s: seconds for which it keeps QoS 1 messages; 0: nothing, the session ends with
            the connection. Before MQTT 5 the broker's own limit counts instead.
        window: QoS 1 messages that it sends before it waits for acknowledgements. Before MQTT 5
            the broker's own limit counts instead.
        max_packet: bytes of the longest packet that it may send; what is longer it drops, so this
            is generous: what is somewhat too long is to be refused in words. Before MQTT 5 the
            broker's own limit counts instead.
    """

    expiry_s: int = 0
    window: int = 20
    max_packet: int = 2**20


NO_SESSION = Session()

Handler = Callable[[Message], None]


class Transport(Protocol):
    """A connection to one broker that heals itself. Safe to use from several threads.

    Attributes:
        connected: whether there is a connection now, with every subscription granted.
    """

    connected: bool

    @property
    def unsent(self) -> int:
        """How many publishes were dropped.

        The broker was away or the link too slow, and the queue full; or the message was given up,
        and nobody asked to be told.
        """

    @property
    def refused(self) -> int:
        """How many QoS 1 messages the broker refused, for instance by its access list."""

    @property
    def problem(self) -> str:
        """What the broker refuses on this connection, in words; empty if nothing."""

    @property
    def persisted(self) -> bool:
        """Whether the broker has all QoS 1 messages, and would have them if it were killed now."""

    def subscribe(
        self,
        topic_filter: str,
        handler: Handler,
        *,
        qos: int = 0,
        manual_ack: bool = False,
        required: bool = True,
    ) -> None:
        """Call ``handler`` on the network thread for each message; call before :meth:`start`.

        A handler may subscribe too; ``on_ready`` does not wait for that.

        A handler only checks and hands over: what it raises is logged and costs that message.

        Args:
            topic_filter: topic, in which MQTT's wildcards are allowed.
            handler: gets the messages.
            qos: quality of service, 0 or 1.
            manual_ack: a QoS 1 message stays with the broker until :meth:`acknowledge`, and comes
                again after a reconnection; otherwise it is acknowledged when ``handler`` returns.
            required: whether a broker that denies the subscription refuses us for good.
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
        """Send a message, or queue it (QoS 1) or drop it (QoS 0) while the broker is away.

        A link that takes nothing counts as away at QoS 0 when a mebibyte waits for it.

        Args:
            topic: topic without wildcards.
            payload: the message.
            qos: quality of service, 0 or 1.
            retain: whether the broker keeps it for later subscribers.
            on_puback: QoS 1 only: called once, on the network thread, when the broker has taken
                the message over; must not publish. Such a message is queued without limit, so the
                caller bounds how many it has under way; and it is sent again if the connection is
                lost soon after.
            on_given_up: QoS 1 only: called once, instead of ``on_puback``, when the message will
                not be sent again: a later connection turned out to take less than an earlier one,
                or the broker hung up each time when it got the message. Must not publish.

        Raises:
            MessageError: the broker does not take such a message: it is larger than the broker's
                limit, or retained, or must not be lost, where the broker cannot do that.
        """

    def acknowledge(self, message: Message) -> None:
        """Send the PUBACK of a ``manual_ack`` message, unless its connection has ended since.

        A message whose connection has ended comes again.
        """

    def redeliver(self) -> None:
        """Connect again: the broker then delivers again what was not acknowledged."""

    def stop(self) -> None:
        """Send what is queued, for at most two seconds, and disconnect without the will."""
