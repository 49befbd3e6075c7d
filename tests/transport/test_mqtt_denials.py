"""A broker that denies a subscription in its SUBACK, as EMQX and RabbitMQ do."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from devit_iot.config.config import BrokerConfig
from devit_iot.errors import BrokerError
from devit_iot.transport.mqtt import MqttTransport

WAIT_S = 20.0
CONNACK = b"\x20\x03\x00\x00\x00"  # success, no properties
SUBSCRIBE = 0x82
GRANTED, DENIED = 0x00, 0x87


@contextmanager
def strict_broker(forbidden: str) -> Iterator[str]:
    """Speaks just enough MQTT 5: grants every subscription but one."""

    def packet(link: socket.socket) -> tuple[int, bytes]:
        kind, length = link.recv(1)[0], link.recv(1)[0]  # no packet of this test has 128 bytes
        body = b""
        while len(body) < length:
            body += link.recv(length - len(body))
        return kind, body

    def serve() -> None:
        link, _ = server.accept()
        with link:
            packet(link)
            link.sendall(CONNACK)
            try:
                while True:
                    kind, body = packet(link)
                    if kind == SUBSCRIBE:
                        code = DENIED if forbidden.encode() in body else GRANTED
                        link.sendall(b"\x90\x04" + body[:2] + bytes((0, code)))
            except (IndexError, OSError):  # it hung up
                pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"mqtt://127.0.0.1:{server.getsockname()[1]}"
        thread.join(WAIT_S)
        assert not thread.is_alive()


@pytest.mark.parametrize("required", [True, False])
def test_only_a_required_subscription_ends_the_service(required: bool) -> None:  # noqa: FBT001
    ready, refused = threading.Event(), threading.Event()
    errors: list[BrokerError] = []

    def on_refused(error: BrokerError) -> None:
        errors.append(error)
        refused.set()

    with strict_broker("b/topic") as url:
        transport = MqttTransport(BrokerConfig(url=url), client_id="denied")
        transport.subscribe("a/topic", lambda _message: None)
        transport.subscribe("b/topic", lambda _message: None, required=required)
        transport.start(on_ready=ready.set, on_refused=on_refused)
        assert (refused if required else ready).wait(WAIT_S)
        transport.stop()
    assert ready.is_set() == (not required)
    assert ["denies the subscription to b/topic" in str(error) for error in errors] == (
        [True] if required else []
    )
