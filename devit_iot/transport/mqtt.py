"""MQTT by paho: version 5, or 3.1.1 where the broker knows no better. The only user of paho."""

import logging
import ssl
import threading
import time
from collections.abc import Callable

from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from devit_iot.config.config import BrokerConfig
from devit_iot.errors import BrokerError, MessageError
from devit_iot.transport import refusals, versions
from devit_iot.transport.address import parse_url, parse_urls
from devit_iot.transport.backoff import Backoff
from devit_iot.transport.base import NO_SESSION, DeliveryId, Handler, Message, Session, Will
from devit_iot.transport.limits import Limits
from devit_iot.transport.link import Link
from devit_iot.transport.outgoing import Outgoing
from devit_iot.transport.publisher import Publisher
from devit_iot.transport.subscriptions import Subscription, Subscriptions
from devit_iot.transport.tls import client_context, explain

logger = logging.getLogger(__name__)

CLUSTER_DENIES_S = 20.0
"""For how long a cluster that never granted a subscription may deny it and is asked again."""

_GOODBYE_S = 2.0
_MAX_PATIENCE_S = 30.0
# CONNECTs without an answer before the other version is tried, by whether this one was accepted
# once: on a link that loses packets an answer may take seconds.
_UNANSWERED = {False: 2, True: 3}
_SUCCESS = MQTTErrorCode.MQTT_ERR_SUCCESS


class MqttTransport:
    """See :class:`devit_iot.transport.base.Transport`.

    A thread of its own owns the connection: it connects, waits until the connection is lost, waits
    with exponential backoff and jitter (at most 30 s), and connects again: in a cluster to the next
    broker of the list.

    Args:
        config: the broker.
        client_id: unique at the broker.
        password: password of ``config.username``.
        will: message that the broker publishes when this process vanishes.
        session: what the broker keeps for us while we are away.
    """

    def __init__(
        self,
        config: BrokerConfig,
        *,
        client_id: str,
        password: str | None = None,
        will: Will | None = None,
        session: Session = NO_SESSION,
    ) -> None:
        self.connected = False
        self._config = config
        self._urls = parse_urls(config.url)
        self._url = self._urls[0]  # the broker that is tried now has it
        tls = parse_url(self._url)[2]
        self._tls = client_context(config) if tls else None
        self._client_id = client_id
        self._password = password
        self._will = will
        self._session = session
        self._subscriptions = Subscriptions()
        self._protocol = MQTTProtocolVersion.MQTTv5
        self._client = self._new_client()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._stopping = threading.Event()
        self._patience_s = 1.0  # for the answer to CONNECT; doubled each time
        self._unanswered = 0  # CONNECTs since the last answer
        self._ready = False  # ever
        self._link = Link()
        self._hung_up: set[str] = set()  # brokers that did, and were not found gone since
        self._denied_at: float | None = None  # the first time in a row, monotonic seconds
        self._redelivering = False
        self._publisher = Publisher(self._client, config.persist_s, config.queue)
        self._backoff = Backoff()
        self._acknowledging = threading.Lock()
        self._on_ready: Callable[[], None] = lambda: None
        self._on_refused: Callable[[BrokerError], None] = lambda _error: None

    @property
    def unsent(self) -> int:
        """See :attr:`devit_iot.transport.base.Transport.unsent`."""
        return self._publisher.unsent

    @property
    def refused(self) -> int:
        """See :attr:`devit_iot.transport.base.Transport.refused`."""
        return self._publisher.refused

    @property
    def problem(self) -> str:
        """See :attr:`devit_iot.transport.base.Transport.problem`."""
        return self._publisher.problem

    @property
    def persisted(self) -> bool:
        """See :attr:`devit_iot.transport.base.Transport.persisted`."""
        return self._publisher.outbox.persisted

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
        self._subscriptions.add(Subscription(topic_filter, handler, qos, manual_ack, required))
        if self._link.acknowledged:  # all others were asked for already
            self._client.subscribe(topic_filter, qos)

    def start(
        self, *, on_ready: Callable[[], None], on_refused: Callable[[BrokerError], None]
    ) -> None:
        """See :meth:`devit_iot.transport.base.Transport.start`."""
        self._on_ready = on_ready
        self._on_refused = on_refused
        self._thread.start()

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
        """See :meth:`devit_iot.transport.base.Transport.publish`."""
        given_up = on_given_up or self._publisher.give_up
        self._publisher.publish(Outgoing(topic, payload, retain, on_puback, given_up), qos)

    def acknowledge(self, message: Message) -> None:
        """See :meth:`devit_iot.transport.base.Transport.acknowledge`."""
        with self._acknowledging:
            delivery = message.delivery
            if delivery is not None and delivery.connection == self._link.number:
                self._client.ack(delivery.number, 1)

    def redeliver(self) -> None:
        """See :meth:`devit_iot.transport.base.Transport.redeliver`."""
        self._redelivering = True
        self._client.disconnect()

    def stop(self) -> None:
        """See :meth:`devit_iot.transport.base.Transport.stop`."""
        self._stopping.set()
        if self._link.acknowledged:
            self._publisher.outbox.wait_empty(_GOODBYE_S)
        self._client.disconnect()
        if self._thread.is_alive():
            self._thread.join(_GOODBYE_S)

    def _new_client(self) -> paho.Client:
        client = versions.new_client(self._protocol, self._client_id, self._session)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        versions.sign_in(client, self._config, self._tls, self._password)
        if self._will is not None:
            client.will_set(self._will.topic, self._will.payload, qos=1, retain=True)
        return client

    def _run(self) -> None:
        while not self._stopping.is_set():
            before = self._protocol
            problem = self._connect_and_serve()
            served_s = self._link.served_s
            self.connected = False
            if self._redelivering:
                self._publisher.close()
                continue
            self._publisher.lose(hung_up=self._link.hung_up, farewell=self._link.farewell)
            if self._link.hung_up:
                self._hung_up.add(self._url)
            if not self._stopping.is_set():
                logger.warning("broker %s %s", self._url, problem)
                self._turn_to_the_next(before)
                self._stopping.wait(self._backoff.pause_s(served_s))

    def _turn_to_the_next(self, before: MQTTProtocolVersion) -> None:
        """Name the next broker, unless the last one is to be asked in the other version first."""
        if self._protocol == before:
            following = self._urls.index(self._url) + 1
            self._url = self._urls[following % len(self._urls)]

    def _connect_and_serve(self) -> str:
        """Connect, serve until the connection is lost, and say why it was."""
        try:
            self._connect()
            if self._stopping.is_set():  # stop() came before there was anything to disconnect
                self._client.disconnect()
            silent = self._serve()
            if self._tls is not None and not self._link.acknowledged:
                self._tls.raise_alert()
        except ssl.SSLError as error:
            problem, remedy = explain(error, self._config)
            if remedy:
                self._refuse(problem, remedy)
            return problem
        except (OSError, ValueError) as error:
            self._note_unreachable()
            return f"is unreachable ({error}); trying again"
        except Exception:  # a packet that paho cannot parse must not end the service
            logger.exception("the broker sent something that does not parse")
            return "sent something that does not parse; connecting again"
        if self._link.acknowledged or self._stopping.is_set():
            return f"is gone{self._link.farewell}; connecting again"
        self._patience_s = min(2 * self._patience_s, _MAX_PATIENCE_S)
        self._unanswered += 1
        if (self._ready or silent) and self._unanswered < _UNANSWERED[self._ready]:
            return "does not answer; connecting again"
        before = versions.NAMES[self._protocol]
        self._protocol = versions.OTHER[self._protocol]
        return f"does not accept MQTT {before}; trying {versions.NAMES[self._protocol]}"

    def _note_unreachable(self) -> None:
        """A broker that hung up and is unreachable now has ended: no message was to blame.

        Another broker of a cluster that is gone says nothing about that.
        """
        if self._url in self._hung_up:
            self._hung_up.remove(self._url)
            self._publisher.outbox.unreachable()

    def _connect(self) -> None:
        self._redelivering = False
        with self._acknowledging:
            self._link = Link(self._link.number + 1)
            # paho would send again by itself, without regard to what the broker takes at once.
            self._client = self._new_client()
        self._publisher.begin(self._client)
        # paho notices a dead link after two of its intervals, checked once a second; our promise is
        # 1.5 keepalives.
        interval = max(1, int(0.75 * self._config.keepalive_s - 0.5))
        options = versions.connect_options(self._protocol, self._session)
        host, port, _ = parse_url(self._url)
        self._client.connect(host, port, interval, **options)

    def _serve(self) -> bool:
        """Handle packets until the connection ends; whether since CONNECT was not answered."""
        give_up = time.monotonic() + self._patience_s
        silent = False
        while self._client.loop(1.0 if self._link.acknowledged else 0.1) == _SUCCESS:
            if not self._link.acknowledged and time.monotonic() > give_up:
                silent = True
                self._client.disconnect()
            self._publisher.send_queued()
        return silent

    def _refuse(self, problem: str, remedy: str) -> None:
        """End for good, unless it worked before: then the broker is being changed, so go on."""
        if not self._ready:
            self._stopping.set()
            self._on_refused(BrokerError(f"broker {self._url} {problem}; {remedy}"))

    def _on_connect(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        del userdata, flags
        if reason.is_failure:
            name = reason.getName()
            remedy = refusals.FOR_GOOD.get(name)
            if remedy is not None:
                self._link.acknowledged = True
                other = getattr(properties, "ServerReference", "")
                self._refuse(f"refused us: {name.lower()}{other and f' ({other})'}", remedy)
            elif name != "Unsupported protocol version":
                self._link.acknowledged = True
                logger.warning("broker %s refused us: %s", self._url, name.lower())
            return
        self._link.acknowledged = True
        self._unanswered = 0
        self._link.limits = Limits.of(properties)
        self._subscriptions.ask(client)
        if self._subscriptions.answered:
            self._is_ready()

    def _on_subscribe(
        self,
        client: paho.Client,
        userdata: object,
        mid: int,
        reasons: list[ReasonCode],
        properties: Properties | None,
    ) -> None:
        del client, userdata, properties
        wanted = self._subscriptions.take(mid)
        if wanted is None:
            return
        if any(reason.is_failure for reason in reasons):
            problem = f"denies the subscription to {wanted.topic_filter}"
            logger.error("broker %s %s; check its access list", self._url, problem)
            if wanted.required:
                if self._denied_for_good():
                    self._refuse(problem, "check its access list")
                else:
                    self._client.disconnect()  # to ask again
                return
        if self._subscriptions.answered:
            self._is_ready()

    def _denied_for_good(self) -> bool:
        """Whether it is no use to ask for a subscription again.

        A broker that granted it before is being changed. A cluster denies what it grants later,
        while it chooses who takes the place of a broker that is gone.
        """
        self._denied_at = self._denied_at or time.monotonic()
        lasts = time.monotonic() - self._denied_at >= CLUSTER_DENIES_S
        return not self._ready and (lasts or len(self._urls) == 1)

    def _is_ready(self) -> None:
        self._denied_at = None
        self._link.ready_at = time.monotonic()
        self._ready = self.connected = True
        logger.info("connected to %s, MQTT %s", self._url, versions.NAMES[self._protocol])
        self._publisher.ready(self._link.limits)
        self._on_ready()

    def _on_publish(
        self,
        client: paho.Client,
        userdata: object,
        mid: int,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        del client, userdata, properties
        self._publisher.acknowledged(mid, reason)

    def _on_message(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        del userdata
        try:
            topic = message.topic
        except UnicodeDecodeError:
            wanted: tuple[Subscription, ...] = ()
        else:
            wanted = self._subscriptions.of(topic)
        for subscription in wanted:
            self._deliver(subscription, client, topic, message)
        if not wanted:
            self._on_stray(client, message)

    def _on_stray(self, client: paho.Client, message: paho.MQTTMessage) -> None:
        """Take what a session still holds for a filter of an earlier configuration."""
        if not self._link.stray:
            logger.warning("broker %s delivers what we no longer ask for", self._url)
        self._link.stray = True
        client.ack(message.mid, message.qos)

    def _deliver(
        self, wanted: Subscription, client: paho.Client, topic: str, message: paho.MQTTMessage
    ) -> None:
        by_hand = wanted.manual_ack and message.qos
        delivery = DeliveryId(self._link.number, message.mid) if by_hand else None
        done = delivery is None
        try:
            wanted.handler(Message(topic, bytes(message.payload), bool(message.retain), delivery))
        except Exception:  # a bug in one message's handling must not end the network thread
            logger.exception("message on %s lost", topic)
            done = True
        if done:
            client.ack(message.mid, message.qos)

    def _on_disconnect(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        del client, userdata, properties
        self._link.ended(flags, reason)
        if reason.getName() == "Session taken over":
            logger.error("another client connected as '%s': names must differ", self._client_id)
