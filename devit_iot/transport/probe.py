"""One connection that is tried once and tells everything: for a person who looks for a fault.

Services use :class:`devit_iot.transport.mqtt.MqttTransport`, which tries for ever instead.
"""

import queue
import socket
import ssl
import threading
import time
from types import TracebackType
from typing import NamedTuple, Self

from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from devit_iot.config.config import BrokerConfig
from devit_iot.errors import BrokerError
from devit_iot.protocol.json_message import MAX_JSON_BYTES
from devit_iot.transport import versions
from devit_iot.transport.address import parse_url
from devit_iot.transport.base import NO_SESSION, Message, Session, Will
from devit_iot.transport.limits import Limits
from devit_iot.transport.refusals import FOR_GOOD
from devit_iot.transport.tls import ClientContext, client_context, explain

_VERSIONS = (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311)
_KEEPALIVE_S = 60
_NO_MQTT = "check the port of broker.url: 1883 is usual, 8883 with TLS"
_INBOX = 1000


class Arrival(NamedTuple):
    """A message of at most 64 KiB, which all but images have, and when it came (monotonic)."""

    at: float
    message: Message


class Probe:
    """Connects inside a ``with`` block, by MQTT 5 or else 3.1.1.

    Some brokers call a session after its user, whatever the client id. Then this connection takes
    the place of a service that runs as the same user. In MQTT 5 its session is left as it is.

    Args:
        config: the broker.
        client_id: unique at the broker.
        password: password of ``config.username``.
        wait_s: the longest time for each answer.
        will: message that the broker publishes, not retained, after :meth:`vanish`.

    Attributes:
        limits: what the broker takes on this connection.
        version: version of MQTT that the broker speaks with us, as people write it.
        foreign: whether the session was there before: it is a service's, nothing is to be done
            with it.
        taken_over: whether somebody else took the place of this connection.

    Raises:
        ConfigError: a file of ``config`` cannot be used.
        BrokerError: on entering: the broker does not let us in. Its text says why, and after a
            semicolon what to do.
    """

    def __init__(
        self,
        config: BrokerConfig,
        *,
        client_id: str,
        password: str | None,
        wait_s: float = 5.0,
        will: Will | None = None,
    ) -> None:
        self.limits = Limits()
        self.version = ""
        self.foreign = False
        self.taken_over = False
        self._lost = ""  # why there is no connection any more
        self._config = config
        self._host, self._port, tls = parse_url(config.url)
        self._session = Session(config.session_s)  # the session of a service, if it is there
        self._tls: ClientContext | None = client_context(config) if tls else None
        self._client_id = client_id
        self._password = password
        self._wait_s = wait_s
        self._will = will
        self._thread: threading.Thread | None = None
        self._greeting: queue.Queue[ReasonCode | None] = queue.Queue()  # None: it hung up
        self._granted: queue.Queue[bool] = queue.Queue()
        self._stored: queue.Queue[tuple[int, str]] = queue.Queue()
        self._inbox: queue.Queue[Arrival] = queue.Queue(_INBOX)
        self._client = self._new_client(_VERSIONS[0])

    def __enter__(self) -> Self:
        for protocol in _VERSIONS:
            if self._connect(protocol):
                self.version = versions.NAMES[protocol]
                return self
        raise BrokerError(f"{self._config.url} does not answer MQTT; {_NO_MQTT}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def subscribe(self, topic_filter: str) -> bool:
        """Whether the broker grants a subscription at QoS 1; no answer counts as no.

        Raises:
            BrokerError: the broker has ended the connection.
        """
        self._check()
        self._client.subscribe(topic_filter, 1)
        try:
            return self._granted.get(timeout=self._wait_s)
        except queue.Empty:
            self._check()
            return False

    def may_subscribe(self, topic_filter: str) -> bool:
        """Whether the broker grants a subscription at QoS 1, which is then given up again."""
        granted = self.subscribe(topic_filter)
        self._client.unsubscribe(topic_filter)
        return granted

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> str:
        """Publish; return what the broker has against it (QoS 1), if anything."""
        self._check()
        sent = self._client.publish(topic, payload, qos, retain).mid
        try:
            while qos:
                answered, refusal = self._stored.get(timeout=self._wait_s)
                if answered == sent:
                    return refusal
        except queue.Empty:
            self._check()
            return "no answer"
        return ""

    def get(self, wait_s: float) -> Arrival | None:
        """The next message; None if none comes in time."""
        try:
            return self._inbox.get(timeout=wait_s)
        except queue.Empty:
            self._check()
            return None

    def vanish(self) -> None:
        """Cut the connection without a goodbye."""
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            sock.shutdown(socket.SHUT_RDWR)
        if self._thread is not None:
            self._thread.join(self._wait_s)

    def _check(self) -> None:
        if self._lost:
            raise BrokerError(
                f"{self._config.url} ended the connection ({self._lost}); see the broker's log"
            )

    def _connect(self, protocol: MQTTProtocolVersion) -> bool:
        """Whether the broker let us in; False if it hung up or did not answer."""
        client = self._client = self._new_client(protocol)
        options = versions.connect_options(protocol, self._session)
        try:
            client.connect(self._host, self._port, _KEEPALIVE_S, **options)
        except ssl.SSLError as error:
            problem, remedy = explain(error, self._config)
            raise BrokerError(f"{self._config.url} {problem}; {remedy}") from error
        except OSError as error:
            raise BrokerError(f"{self._config.url} is unreachable ({error}); {_NO_MQTT}") from error
        self._greeting, self._lost = queue.Queue(), ""
        self._thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
        self._thread.start()
        try:
            reason = self._greeting.get(timeout=self._wait_s)
        except queue.Empty:
            reason = None
        if reason is None:
            self._end()
            self._raise_alert()
            return False
        if not reason.is_failure:
            return True
        self._end()
        name = reason.getName()
        if protocol == MQTTProtocolVersion.MQTTv5 and name == "Unsupported protocol version":
            return False
        remedy = FOR_GOOD.get(name, "see the broker's log")
        raise BrokerError(f"{self._config.url} refuses us: {name.lower()}; {remedy}")

    def _new_client(self, protocol: MQTTProtocolVersion) -> paho.Client:
        client = versions.new_client(protocol, self._client_id, NO_SESSION)
        client.connect_timeout = self._wait_s
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        versions.sign_in(client, self._config, self._tls, self._password)
        if self._will is not None:
            client.will_set(self._will.topic, self._will.payload, qos=1)
        return client

    def _serve(self, client: paho.Client) -> None:
        greeting = self._greeting
        while client.loop(0.1) == MQTTErrorCode.MQTT_ERR_SUCCESS:
            pass
        greeting.put(None)

    def _end(self) -> None:
        ours = self.version == versions.NAMES[MQTTProtocolVersion.MQTTv5] and not self.foreign
        self._client.disconnect(properties=versions.forget() if ours else None)
        if self._thread is not None:
            self._thread.join(self._wait_s)
            self._thread = None

    def _raise_alert(self) -> None:
        """In TLS 1.3 our certificate is refused after the handshake."""
        if self._tls is None:
            return
        try:
            self._tls.raise_alert()
        except ssl.SSLError as error:
            problem, remedy = explain(error, self._config)
            raise BrokerError(f"{self._config.url} {problem}; {remedy}") from error

    def _on_connect(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        del client, userdata
        self.limits = Limits.of(properties)
        self.foreign = flags.session_present
        self._greeting.put(reason)

    def _on_disconnect(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        del client, userdata, flags, properties
        self._lost = reason.getName().lower()
        self.taken_over = reason.getName() == "Session taken over"

    def _on_subscribe(
        self,
        client: paho.Client,
        userdata: object,
        mid: int,
        reasons: list[ReasonCode],
        properties: Properties | None,
    ) -> None:
        del client, userdata, mid, properties
        self._granted.put(not any(reason.is_failure for reason in reasons))

    def _on_publish(
        self,
        client: paho.Client,
        userdata: object,
        mid: int,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        del client, userdata, properties
        self._stored.put((mid, reason.getName().lower() if reason.is_failure else ""))

    def _on_message(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        del userdata
        if self.foreign:
            return
        client.ack(message.mid, message.qos)
        arrived = Message(message.topic, bytes(message.payload), bool(message.retain))
        if len(arrived.payload) <= MAX_JSON_BYTES and not self._inbox.full():
            self._inbox.put(Arrival(time.monotonic(), arrived))
