"""MQTT by paho: version 5, or 3.1.1 where the broker knows no better. The only user of paho."""

import logging
import random
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from devit_iot.config import BrokerConfig
from devit_iot.errors import BrokerError, ConfigError
from devit_iot.transport.base import Handler, Message, Will

logger = logging.getLogger(__name__)

_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}
_MAX_BACKOFF_S = 30.0
_GOODBYE_S = 2.0
_MAX_PATIENCE_S = 30.0
_SUCCESS = MQTTErrorCode.MQTT_ERR_SUCCESS
_VERSIONS = {MQTTProtocolVersion.MQTTv5: "5", MQTTProtocolVersion.MQTTv311: "3.1.1"}
_OTHER = {  # a broker that knows only 3.1.1 may hang up on version 5, or never answer
    MQTTProtocolVersion.MQTTv5: MQTTProtocolVersion.MQTTv311,
    MQTTProtocolVersion.MQTTv311: MQTTProtocolVersion.MQTTv5,
}
_REFUSED_FOR_GOOD = {
    "Bad user name or password": "check broker.username and the password",
    "Not authorized": "check broker.username, the password and the broker's access list",
    "Banned": "ask the broker's owner",
    "Client identifier not valid": "choose another node name",
}


class MqttTransport:
    """See :class:`devit_iot.transport.base.Transport`.

    A thread of its own owns the connection: it connects, waits until the connection is lost, waits
    with exponential backoff and jitter (at most 30 s), and connects again.

    Args:
        config: the broker.
        client_id: unique at the broker.
        password: for ``config.username``.
        will: published by the broker when this process vanishes.
    """

    def __init__(
        self,
        config: BrokerConfig,
        *,
        client_id: str,
        password: str | None = None,
        will: Will | None = None,
    ) -> None:
        self.unsent = 0
        self._config = config
        self._host, self._port, self._tls = parse_url(config.url)
        self._client_id = client_id
        self._password = password
        self._will = will
        self._handlers: list[tuple[str, Handler, int]] = []
        self._waiting_for: dict[int, str] = {}  # mid of a SUBSCRIBE -> its filter
        self._protocol = MQTTProtocolVersion.MQTTv5
        self._client = self._new_client()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._stopping = threading.Event()
        self._patience_s = 1.0  # for the answer to CONNECT; doubled each time
        self._acknowledged = False  # the broker answered CONNACK on this connection
        self._ready = False  # ever
        self._last_sent: paho.MQTTMessageInfo | None = None
        self._on_ready: Callable[[], None] = lambda: None
        self._on_refused: Callable[[BrokerError], None] = lambda _error: None

    def subscribe(self, topic_filter: str, handler: Handler, *, qos: int = 0) -> None:
        """See the protocol."""
        handler = _guarded(handler)
        self._handlers.append((topic_filter, handler, qos))
        self._client.message_callback_add(topic_filter, _adapted(handler))

    def start(
        self, *, on_ready: Callable[[], None], on_refused: Callable[[BrokerError], None]
    ) -> None:
        """See the protocol."""
        self._on_ready = on_ready
        self._on_refused = on_refused
        self._thread.start()

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """See the protocol."""
        info = self._client.publish(topic, payload, qos=qos, retain=retain)
        if qos and info.rc == _SUCCESS:
            self._last_sent = info
        elif not (qos and info.rc == MQTTErrorCode.MQTT_ERR_NO_CONN):  # that one is queued
            self.unsent += info.rc != _SUCCESS

    def stop(self) -> None:
        """See the protocol."""
        self._stopping.set()
        if self._acknowledged and self._last_sent is not None:
            self._last_sent.wait_for_publish(_GOODBYE_S)
        self._client.disconnect()
        if self._thread.is_alive():
            self._thread.join(_GOODBYE_S)

    def _new_client(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=self._protocol,
            reconnect_on_failure=False,  # _run reconnects: it also picks the protocol
        )
        client.max_queued_messages_set(self._config.queue)
        client.on_socket_open = _set_nodelay
        client.on_socket_register_write = _wake_the_loop
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        if self._tls:
            client.tls_set(ca_certs=self._config.ca_file or None)
        if self._config.username:
            client.username_pw_set(self._config.username, self._password)
        if self._will is not None:
            client.will_set(self._will.topic, self._will.payload, qos=1, retain=True)
        for topic_filter, handler, _ in self._handlers:
            client.message_callback_add(topic_filter, _adapted(handler))
        return client

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._acknowledged = False
            problem = self._connect_and_serve()
            if self._stopping.is_set():
                return
            failures = 1 if self._acknowledged else failures + 1
            logger.warning("broker %s %s", self._config.url, problem)
            delay = min(_MAX_BACKOFF_S, 0.25 * 2 ** min(failures, 10))
            self._stopping.wait(delay * random.uniform(0.5, 1.0))

    def _connect_and_serve(self) -> str:
        """Connect, serve until the connection is lost, and say why it was."""
        try:
            self._client.connect(self._host, self._port, self._config.keepalive_s)
            self._serve()
        except ssl.SSLCertVerificationError as error:
            problem = f"shows a certificate that is not trusted ({error.verify_message})"
            self._refuse(problem, "set broker.ca_file")
            return problem
        except (OSError, ValueError) as error:
            return f"is unreachable ({error}); trying again"
        except Exception:  # a packet that paho cannot parse must not end the service
            logger.exception("the broker sent something that does not parse")
            return "sent something that does not parse; connecting again"
        if self._acknowledged or self._stopping.is_set():
            return "is gone; connecting again"
        before = _VERSIONS[self._protocol]
        self._protocol = _OTHER[self._protocol]
        self._patience_s = min(2 * self._patience_s, _MAX_PATIENCE_S)
        self._client = self._new_client()
        return f"does not accept MQTT {before}; trying {_VERSIONS[self._protocol]}"

    def _serve(self) -> None:
        """Handle packets until the connection ends, or the broker does not answer CONNECT."""
        give_up = time.monotonic() + self._patience_s
        while self._client.loop(1.0 if self._acknowledged else 0.1) == _SUCCESS:
            if not self._acknowledged and time.monotonic() > give_up:
                self._client.disconnect()

    def _refuse(self, problem: str, mend: str) -> None:
        """End for good, unless it worked before: then the broker is being changed, so go on."""
        if not self._ready:
            self._stopping.set()
            self._on_refused(BrokerError(f"broker {self._config.url} {problem}; {mend}"))

    def _on_connect(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        del userdata, flags, properties
        if reason.is_failure:
            name = reason.getName()
            mend = _REFUSED_FOR_GOOD.get(name)
            if mend is not None:
                self._acknowledged = True
                self._refuse(f"refused us: {name.lower()}", mend)
            elif name != "Unsupported protocol version":
                self._acknowledged = True
                logger.warning("broker %s refused us: %s", self._config.url, name.lower())
            return
        self._acknowledged = True
        self._waiting_for.clear()
        for topic_filter, _, qos in self._handlers:
            _, mid = client.subscribe(topic_filter, qos)
            if mid is not None:
                self._waiting_for[mid] = topic_filter
        if not self._waiting_for:
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
        topic_filter = self._waiting_for.pop(mid, None)
        if topic_filter is None:
            return
        if any(reason.is_failure for reason in reasons):
            logger.error("broker %s denies us %s", self._config.url, topic_filter)
            self._refuse(f"denies the subscription to {topic_filter}", "check its access list")
            return
        if not self._waiting_for:
            self._is_ready()

    def _is_ready(self) -> None:
        self._ready = True
        logger.info("connected to %s, MQTT %s", self._config.url, _VERSIONS[self._protocol])
        self._on_ready()

    def _on_disconnect(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        del client, userdata, flags, properties
        if reason.getName() == "Session taken over":
            logger.error("another client connected as '%s': names must differ", self._client_id)


def parse_url(url: str) -> tuple[str, int, bool]:
    """Host, port and whether to use TLS, of mqtt://host[:port] or mqtts://host[:port].

    Raises:
        ConfigError: another scheme, no host, a path, or credentials, which do not belong in a URL.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"broker url '{url}': {error}") from error
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.path.strip("/"):
        raise ConfigError(f"broker url '{url}' is not mqtt://host[:port] or mqtts://host[:port]")
    if parts.username or parts.password:
        raise ConfigError("no credentials in the broker url: use username and password_file")
    return parts.hostname, port or _DEFAULT_PORTS[parts.scheme], parts.scheme == "mqtts"


def _set_nodelay(client: paho.Client, userdata: object, sock: Any) -> None:  # noqa: ANN401
    """Without it Nagle's algorithm and delayed ACKs hold every feature back by about 40 ms."""
    del client, userdata
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _wake_the_loop(client: paho.Client, userdata: object, sock: object) -> None:
    """Being set is its job: without it paho would write from whatever thread publishes."""
    del client, userdata, sock


def _guarded(handler: Handler) -> Handler:
    """Keep a bug in one message's handling from ending the network thread."""

    def guarded(message: Message) -> None:
        try:
            handler(message)
        except Exception:
            logger.exception("message on %s lost", message.topic)

    return guarded


def _adapted(handler: Handler) -> Callable[[paho.Client, object, paho.MQTTMessage], None]:
    def on_message(_client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        handler(Message(message.topic, bytes(message.payload), bool(message.retain)))

    return on_message
