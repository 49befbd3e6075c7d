"""What a link that takes nothing may hold, with a real socket whose other end does not read."""

import socket
import threading
from collections.abc import Iterator

import pytest

from devit_iot.config.config import BrokerConfig
from devit_iot.transport.backlog import MAX_BYTES
from devit_iot.transport.mqtt import MqttTransport
from tests.support.fleets import wait_until

CONNACK = b"\x20\x03\x00\x00\x00"
SIZE = 100_000
COUNT = 100


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 10_000)
        server.settimeout(20)
        yield server


@pytest.fixture
def transport(server: socket.socket) -> Iterator[MqttTransport]:
    url = f"mqtt://127.0.0.1:{server.getsockname()[1]}"
    transport = MqttTransport(BrokerConfig(url=url), client_id="camera")
    yield transport
    transport.stop()


def connect(server: socket.socket, transport: MqttTransport) -> socket.socket:
    ready = threading.Event()
    transport.start(on_ready=ready.set, on_refused=lambda _error: None)
    connection, _ = server.accept()
    connection.recv(1000)
    connection.sendall(CONNACK)
    assert ready.wait(20)
    return connection


def held(transport: MqttTransport) -> int:
    return sum(len(packet["packet"]) for packet in list(transport._client._out_packet))


def test_a_link_that_takes_nothing_holds_a_mebibyte(
    server: socket.socket, transport: MqttTransport
) -> None:
    with connect(server, transport) as connection:
        for _ in range(COUNT):
            transport.publish("image", bytes(SIZE))
        assert held(transport) <= MAX_BYTES + SIZE
        assert 0 < transport.unsent < COUNT
        dropped = transport.unsent
        while held(transport):  # the link comes back
            connection.recv(1 << 20)
        transport.publish("image", bytes(SIZE))
        assert transport.unsent == dropped


def test_a_message_over_the_limit_goes_alone(
    server: socket.socket, transport: MqttTransport
) -> None:
    with connect(server, transport):
        transport.publish("image", bytes(8 * MAX_BYTES))
        assert transport.unsent == 0
        transport.publish("image", b"")
        assert transport.unsent == 1


def test_what_goes_with_its_connection_is_counted(
    server: socket.socket, transport: MqttTransport
) -> None:
    with connect(server, transport):
        transport.publish("image", bytes(8 * MAX_BYTES))
    again, _ = server.accept()
    with again:
        again.recv(1000)
        again.sendall(CONNACK)
        wait_until(lambda: transport.connected)
        transport.publish("image", b"")
        assert transport.unsent == 1
