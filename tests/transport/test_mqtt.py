"""The MQTT transport against real brokers, and against a peer that talks rubbish."""

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as paho

from devit_iot.config.config import BrokerConfig
from devit_iot.demo.processes import FleetProcesses, free_port
from devit_iot.errors import BrokerError, ConfigError
from devit_iot.transport.address import parse_url
from devit_iot.transport.base import Message, Will
from devit_iot.transport.mqtt import MqttTransport
from tests.support.fleets import wait_until


class Client:
    """A transport that remembers what it got."""

    def __init__(self, url: str, name: str, *, queue: int = 100) -> None:
        self.ready = 0
        self.got: list[Message] = []
        self.refused: list[BrokerError] = []
        self.transport = MqttTransport(
            BrokerConfig(url=url, queue=queue), client_id=name, will=Will(f"will/{name}", b"gone")
        )

    def start(self, *filters: str) -> None:
        for topic_filter in filters:
            self.transport.subscribe(topic_filter, self.got.append, qos=1)
        self.transport.start(on_ready=self._on_ready, on_refused=self.refused.append)

    def _on_ready(self) -> None:
        self.ready += 1


@contextmanager
def clients(url: str, *names: str) -> Iterator[list[Client]]:
    made = [Client(url, name) for name in names]
    try:
        yield made
    finally:
        for client in made:
            client.transport.stop()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetProcesses]:
    with FleetProcesses(tmp_path, bundle=tmp_path, fleet="t") as processes:
        yield processes


@pytest.fixture(params=["mosquitto", "amqtt"])
def broker(request: pytest.FixtureRequest, fleet: FleetProcesses) -> FleetProcesses:
    request.getfixturevalue("mosquitto_or_skip") if request.param == "mosquitto" else None
    fleet.start_broker(request.param)
    return fleet


@pytest.mark.parametrize("qos", [0, 1])
def test_messages_arrive_whole_and_in_order(broker: FleetProcesses, qos: int) -> None:
    with clients(broker.url, "a", "b") as (a, b):
        a.start("room/+/image", "other/#")
        b.start()
        wait_until(lambda: a.ready and b.ready)
        payloads = [bytes([number]) * 40_000 for number in range(20)]
        for payload in payloads:
            b.transport.publish("room/1/image", payload, qos=qos)
        wait_until(lambda: len(a.got) == 20)
        assert [message.payload for message in a.got] == payloads
        assert a.got[0] == Message("room/1/image", payloads[0], retained=False)


def test_retained_messages_are_marked(broker: FleetProcesses) -> None:
    with clients(broker.url, "a", "b") as (a, b):
        b.start()
        wait_until(lambda: b.ready)
        b.transport.publish("state", b"kept", qos=1, retain=True)
        b.transport.stop()
        a.start("state")
        wait_until(lambda: a.got)
        assert a.got == [Message("state", b"kept", retained=True)]


def test_the_will_is_for_those_who_vanish(broker: FleetProcesses) -> None:
    with clients(broker.url, "watcher", "polite", "lost") as (watcher, polite, lost):
        watcher.start("will/+")
        polite.start()
        lost.start()
        wait_until(lambda: watcher.ready and polite.ready and lost.ready)
        polite.transport.stop()
        lost.transport._stopping.set()  # it does not come back then
        sock = lost.transport._client.socket()
        assert isinstance(sock, socket.socket)
        sock.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: watcher.got)
        assert [message.topic for message in watcher.got] == ["will/lost"]


def test_it_comes_back_with_its_subscriptions(broker: FleetProcesses, tmp_path: Path) -> None:
    kind = "mosquitto" if (tmp_path / "mosquitto.conf").exists() else "amqtt"
    with clients(broker.url, "a", "b") as (a, b):
        a.start("news")
        b.start()
        wait_until(lambda: a.ready and b.ready)
        broker.kill("broker")
        broker.start_broker("mosquitto" if kind == "mosquitto" else "amqtt")
        wait_until(lambda: a.ready == 2 and b.ready == 2)
        b.transport.publish("news", b"again")
        wait_until(lambda: a.got)


def test_the_offline_queue_is_bounded_and_then_sent(fleet: FleetProcesses) -> None:
    client = Client(fleet.url, "a", queue=5)
    client.start("kept")
    for number in range(8):
        client.transport.publish("kept", bytes([number]), qos=1)
        client.transport.publish("lost", b"", qos=0)
    assert client.transport.unsent == 3 + 8
    fleet.start_broker("mosquitto" if _has_mosquitto() else "amqtt")
    wait_until(lambda: len(client.got) == 5, 60)
    assert [message.payload for message in client.got] == [bytes([n]) for n in range(5)]
    client.transport.stop()


def test_nagle_is_off(broker: FleetProcesses) -> None:
    with clients(broker.url, "a") as (a,):
        a.start()
        wait_until(lambda: a.ready)
        sock = a.transport._client.socket()
        assert isinstance(sock, socket.socket)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_handler_that_fails_costs_one_message(
    broker: FleetProcesses, caplog: pytest.LogCaptureFixture
) -> None:
    with clients(broker.url, "a") as (a,):

        def fail(message: Message) -> None:
            raise ValueError(message.topic)

        a.transport.subscribe("bad", fail)
        a.start("good")
        wait_until(lambda: a.ready)
        a.transport.publish("bad", b"")
        a.transport.publish("good", b"")
        wait_until(lambda: a.got)
        assert "message on bad lost" in caplog.text


RUBBISH = [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\x02", b"\x20\x03\x00\x00\xff", b"\xff" * 64]


@pytest.mark.parametrize("rubbish", RUBBISH, ids=["http", "half", "properties", "ones"])
def test_a_peer_that_talks_rubbish_is_left_and_tried_again(rubbish: bytes) -> None:
    accepted = threading.Semaphore(0)
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as server:

        def serve() -> None:
            for _ in range(2):
                connection, _address = server.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(rubbish)
                    accepted.release()

        thread = threading.Thread(target=serve)
        thread.start()
        with clients(f"mqtt://127.0.0.1:{port}", "a") as (a,):
            a.start()
            for _ in range(2):
                assert accepted.acquire(timeout=20)
            assert not a.refused
        thread.join(10)


def test_a_peer_that_hangs_up_is_tried_with_both_versions(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        clients(f"mqtt://127.0.0.1:{server.getsockname()[1]}", "a") as (a,),
    ):
        a.start()
        versions = []
        for _ in range(2):
            connection, _address = server.accept()
            with connection:
                versions.append(connection.recv(1000)[8])  # the protocol level
        assert versions == [5, 4]
        assert "does not accept MQTT 5; trying 3.1.1" in caplog.text


def test_it_can_be_stopped_while_it_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    connecting, stopped = threading.Event(), threading.Event()
    connect = paho.Client.connect

    def slowly(*arguments: Any, **options: Any) -> object:  # noqa: ANN401 - paho's own
        connecting.set()
        assert stopped.wait(20)
        return connect(*arguments, **options)

    monkeypatch.setattr(paho.Client, "connect", slowly)
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = Client(f"mqtt://127.0.0.1:{server.getsockname()[1]}", "a").transport
        transport.start(on_ready=lambda: None, on_refused=lambda _error: None)
        assert connecting.wait(20)
        transport._stopping.set()
        transport._client.disconnect()
        stopped.set()
        connection, _address = server.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"\x20\x03\x00\x00\x00")  # CONNACK
            transport._thread.join(10)
            assert not transport._thread.is_alive()


def test_a_silent_peer_is_asked_twice_before_it_counts_as_old() -> None:
    """A link that loses packets may have lost the answer."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        clients(f"mqtt://127.0.0.1:{server.getsockname()[1]}", "a") as (a,),
    ):
        a.start()
        versions = []
        for _ in range(3):
            connection, _address = server.accept()
            with connection:
                versions.append(connection.recv(1000)[8])
                while len(versions) < 3 and connection.recv(1000):  # until it gives up
                    pass
        assert versions == [5, 5, 4]


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("mqtt://hub", ("hub", 1883, False)),
        ("mqtts://hub.local", ("hub.local", 8883, True)),
        ("mqtt://[::1]:1884/", ("::1", 1884, False)),
    ],
)
def test_urls(url: str, wanted: tuple[str, int, bool]) -> None:
    assert parse_url(url) == wanted


@pytest.mark.parametrize("url", ["hub", "http://hub", "mqtt://", "mqtt://hub:x", "mqtt://u:p@hub"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        parse_url(url)


def _has_mosquitto() -> bool:
    return shutil.which("mosquitto") is not None


@pytest.fixture
def mosquitto_or_skip() -> None:
    if not _has_mosquitto():
        pytest.skip("mosquitto is not on PATH: install it to test against it")
