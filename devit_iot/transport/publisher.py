"""What goes out over the connection that there is now, and waits while there is none."""

import logging
import threading

from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from devit_iot.errors import MessageError
from devit_iot.transport import refusals
from devit_iot.transport.backlog import Backlog
from devit_iot.transport.limits import Limits
from devit_iot.transport.outbox import Acknowledgement, Outbox
from devit_iot.transport.outgoing import Outgoing

logger = logging.getLogger(__name__)


class Publisher:
    """Publishes within the limits of each connection. Safe to use from several threads.

    Args:
        client: paho's client of the first connection.
        persist_s: how long the acknowledgement of a message that must not be lost is not trusted.
        queue: QoS 1 messages that may wait, beside those that must not be lost.

    Attributes:
        outbox: what is published at QoS 1.
        unsent: number of dropped publishes, see :attr:`devit_iot.transport.base.Transport.unsent`.
        refused: number of QoS 1 messages that the broker refused.
    """

    def __init__(self, client: paho.Client, persist_s: float, queue: int) -> None:
        self.outbox = Outbox(persist_s)
        self.unsent = 0
        self.refused = 0
        self._queue = queue
        self._client = client
        self._limits = Limits()
        self._ready = False
        self._backlog = Backlog()
        self._problem = ""
        # paho calls on_publish, and so acknowledged(), with a lock of its own that publishing
        # needs too. So acknowledged() must not take this one.
        self._sending = threading.Lock()

    @property
    def problem(self) -> str:
        """What the broker refuses on this connection, in words; empty if nothing."""
        unsubscribed = self.outbox.topic_without_subscribers
        return self._problem or (f"nobody listens on {unsubscribed}" if unsubscribed else "")

    def publish(self, message: Outgoing, qos: int) -> None:
        """Send a message or queue it, or at QoS 0 drop it, while there is no connection.

        Raises:
            MessageError: the broker does not take such a message.
        """
        objection = self._limits.objection(message)
        if objection is not None:
            raise objection
        if qos == 0:
            self._send_once(message)
        elif message.on_puback is None and len(self.outbox) >= self._queue:
            self.unsent += 1
        else:
            self.outbox.put(message)
            self.send_queued()

    def begin(self, client: paho.Client) -> None:
        """Go over to another client, whose connection is not ready yet."""
        with self._sending:
            self._client = client
            self._limits = Limits()
            self._problem = ""

    def ready(self, limits: Limits) -> None:
        """The connection can be published on."""
        with self._sending:
            self._limits = limits
            self.outbox.connected(limits.window)
            self._ready = True
        self.send_queued()

    def send_queued(self) -> None:
        """Publish as much of the queue as may go now."""
        with self._sending:
            while self._ready and (message := self.outbox.take()) is not None:
                objection = self._limits.objection(message)  # what came before the connection
                if objection is not None:
                    self.outbox.drop()
                    message.on_given_up(objection)
                elif not self._limits.max_qos:
                    self.outbox.drop()
                    self._send_once(message)
                elif not self._send(message):
                    return

    def acknowledged(self, number: int, reason: ReasonCode) -> None:
        """The broker answered to the message of that number."""
        answer: Acknowledgement = (
            "no_subscribers" if reason.value == refusals.NO_SUBSCRIBERS else "accepted"
        )
        if reason.is_failure:
            answer = "refused"
            self.refused += 1
            problem = f"the broker refuses what we publish: {reason.getName().lower()}"
            if problem != self._problem:
                logger.error("%s; check its access list", problem)
            self._problem = problem
        self.outbox.acknowledged(number, answer)

    def close(self) -> None:
        """We have ended the connection."""
        with self._sending:
            self._ready = False
            self.unsent += self._backlog.lost()
            self.outbox.closed()

    def lose(self, *, hung_up: bool, farewell: str) -> None:
        """The connection was lost.

        Args:
            hung_up: whether the broker ended it.
            farewell: the broker's reason, in parentheses; empty if it gave none.
        """
        with self._sending:
            hung_up = hung_up and self._ready
            self._ready = False
            self.unsent += self._backlog.lost()
            message = self.outbox.lost(hung_up=hung_up)
        if message is not None:
            what = f"message of {len(message.payload)} bytes on {message.topic[:100]!r}"
            why = f"the broker hangs up for it{farewell}"
            message.on_given_up(MessageError("hangs_up", f"{what}; {why}"))

    def give_up(self, error: MessageError) -> None:
        """Count a message that is not sent, and whose sender does not want to know."""
        logger.error("%s; it is given up", error)
        self.unsent += 1

    def _send(self, message: Outgoing) -> bool:
        """Publish at QoS 1; whether there was a connection."""
        info = self._client.publish(message.topic, message.payload, 1, message.retain)
        sent = info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS
        self.outbox.sent(info.mid if sent else None, message)
        return sent

    def _send_once(self, message: Outgoing) -> None:
        """Publish at QoS 0."""
        topic, payload, retain = message.topic, message.payload, message.retain
        self.unsent += self._backlog.publish(self._client, topic, payload, retain=retain)
