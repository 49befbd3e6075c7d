"""How paho is set up for MQTT 5 and for 3.1.1, and what differs between them."""

import socket
import ssl
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers

from devit_iot.config.config import BrokerConfig
from devit_iot.transport.base import Session

NAMES = {MQTTProtocolVersion.MQTTv5: "5", MQTTProtocolVersion.MQTTv311: "3.1.1"}
OTHER = {  # a broker that knows only 3.1.1 may hang up on version 5, or never answer
    MQTTProtocolVersion.MQTTv5: MQTTProtocolVersion.MQTTv311,
    MQTTProtocolVersion.MQTTv311: MQTTProtocolVersion.MQTTv5,
}

_unpack = Properties.unpack


def _unpack_what_we_use(properties: Properties, buffer: bytes) -> tuple[Properties, int]:
    """Skip the properties of a message: whoever publishes writes them, and we use none.

    paho ends the connection for a byte-order mark in one of them, and takes minutes for a megabyte
    of short ones.
    """
    if properties.packetType != PacketTypes.PUBLISH:
        return _unpack(properties, buffer)  # type: ignore[no-any-return, no-untyped-call]
    size, digits = VariableByteIntegers.decode(buffer)  # type: ignore[no-untyped-call]
    return properties, size + digits


Properties.unpack = _unpack_what_we_use  # type: ignore[method-assign]

_TABLES = vars(Properties(PacketTypes.PUBLISH))  # type: ignore[no-untyped-call]


def _with_shared_tables(properties: Properties, packet_type: int) -> None:
    """Make properties without the tables of all that there are, which paho builds anew each time.

    That took a sixth of the time of a message that comes; nothing writes into the tables.
    """
    vars(properties).update(_TABLES, packetType=packet_type)


Properties.__init__ = _with_shared_tables  # type: ignore[method-assign]


def new_client(protocol: MQTTProtocolVersion, client_id: str, session: Session) -> paho.Client:
    """A client that neither reconnects nor acknowledges by itself."""
    version_5 = protocol == MQTTProtocolVersion.MQTTv5
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        clean_session=None if version_5 else not session.expiry_s,
        protocol=protocol,
        reconnect_on_failure=False,  # the transport does: it also picks the protocol
        manual_ack=True,
    )
    client.on_socket_open = _set_nodelay
    client.on_socket_register_write = _wake_the_loop
    return client


def sign_in(
    client: paho.Client, config: BrokerConfig, tls: ssl.SSLContext | None, password: str | None
) -> None:
    """Have ``client`` connect over ``tls``, if there is one, as the user of ``config``."""
    if tls is not None:
        client.tls_set_context(tls)
    if config.username:
        client.username_pw_set(config.username, password)


def connect_options(protocol: MQTTProtocolVersion, session: Session) -> dict[str, Any]:
    """What CONNECT says of the session, as arguments of paho's ``connect``."""
    if protocol != MQTTProtocolVersion.MQTTv5:
        return {}
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.ReceiveMaximum = session.window
    properties.SessionExpiryInterval = session.expiry_s
    properties.MaximumPacketSize = session.max_packet
    return {"clean_start": not session.expiry_s, "properties": properties}


def forget() -> Properties:
    """The properties of a DISCONNECT in MQTT 5 by which the session ends with the connection."""
    properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 0
    return properties


def _set_nodelay(client: paho.Client, userdata: object, sock: Any) -> None:  # noqa: ANN401
    """Set TCP_NODELAY: Nagle's algorithm and delayed ACKs hold a feature back by about 40 ms."""
    del client, userdata
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _wake_the_loop(client: paho.Client, userdata: object, sock: object) -> None:
    """A callback for paho: with one it leaves writing to its loop, not to whoever publishes."""
    del client, userdata, sock
