"""Kept messages, persistent sessions and what a killed broker forgets, against mosquitto."""

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devit_iot.config.config import BrokerConfig
from devit_iot.demo.processes import FleetProcesses
from devit_iot.errors import MessageError
from devit_iot.transport.base import Message, Session
from devit_iot.transport.mqtt import MqttTransport
from tests.support.fleets import wait_until

needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto") is None,
    reason="mosquitto is not on PATH: install it to test against it",
)
SESSION = Session(expiry_s=60, window=4)


class Keeper:
    """A client that keeps what it gets on ``work/#``, for as long as the test wants."""

    def __init__(self, url: str, session: Session = SESSION, *, keepalive_s: int = 30) -> None:
        self.ready = 0
        self.got: list[Message] = []
        self.stored: list[str] = []
        config = BrokerConfig(url=url, keepalive_s=keepalive_s)
        self.transport = MqttTransport(config, client_id="keeper", session=session)

    def start(self, topic_filter: str = "work/#") -> None:
        self.transport.subscribe(topic_filter, self.got.append, qos=1, manual_ack=True)
        self.transport.start(on_ready=self._on_ready, on_refused=lambda _error: None)
        wait_until(lambda: self.ready)

    def publish(self, name: str, payload: bytes = b"") -> None:
        self.transport.publish(
            f"work/{name}", payload, qos=1, on_puback=lambda: self.stored.append(name)
        )

    @property
    def names(self) -> list[str]:
        return [message.topic.removeprefix("work/") for message in self.got]

    def _on_ready(self) -> None:
        self.ready += 1


@contextmanager
def keeper(url: str, session: Session = SESSION, *, topic: str = "work/#") -> Iterator[Keeper]:
    client = Keeper(url, session)
    try:
        client.start(topic)
        yield client
    finally:
        client.transport.stop()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetProcesses]:
    with FleetProcesses(tmp_path, bundle=tmp_path, fleet="t") as processes:
        yield processes


@pytest.fixture
def broker(fleet: FleetProcesses) -> FleetProcesses:
    fleet.start_broker("mosquitto")
    return fleet


@needs_mosquitto
def test_what_is_not_acknowledged_comes_again(broker: FleetProcesses) -> None:
    with keeper(broker.url) as first:
        for name in "abc":
            first.publish(name)
        wait_until(lambda: len(first.got) == 3)
        assert first.stored == ["a", "b", "c"]
        first.transport.acknowledge(first.got[1])
    with keeper(broker.url) as second:
        wait_until(lambda: len(second.got) == 2)
        second.publish("d")  # a new one is told apart from what comes again
        wait_until(lambda: len(second.got) == 3)
        assert second.names == ["a", "c", "d"]
        for message in [*first.got, *second.got]:  # those of the first connection are void
            second.transport.acknowledge(message)
    with keeper(broker.url) as third:
        third.publish("e")
        wait_until(lambda: third.got)
        assert third.names == ["e"]


@needs_mosquitto
def test_the_broker_knows_our_window(broker: FleetProcesses) -> None:
    """Until the first acknowledgement; mosquitto 2.0.11 then sends a window more for each one."""
    with keeper(broker.url) as client:
        for number in range(10):
            client.publish(str(number))
        wait_until(lambda: len(client.stored) == 10)
        assert client.names == ["0", "1", "2", "3"]
        for done in range(10):
            wait_until(lambda done=done: len(client.got) > done)  # type: ignore[misc]
            client.transport.acknowledge(client.got[done])
        assert client.names == [str(number) for number in range(10)]


@needs_mosquitto
def test_the_broker_keeps_from_us_what_is_too_long(broker: FleetProcesses) -> None:
    with keeper(broker.url, SESSION._replace(max_packet=1000)) as client:
        for name, size in (("a", 900), ("b", 1000), ("c", 2**20), ("d", 900)):
            client.publish(name, bytes(size))
        wait_until(lambda: client.names == ["a", "d"])
        assert client.ready == 1


@needs_mosquitto
def test_what_is_kept_comes_again_when_asked_for(broker: FleetProcesses) -> None:
    with keeper(broker.url) as client:
        client.publish("a")
        wait_until(lambda: client.got)
        client.transport.redeliver()
        wait_until(lambda: len(client.got) == 2)
        client.transport.acknowledge(client.got[1])
        assert client.names == ["a", "a"]


@needs_mosquitto
def test_a_session_without_expiry_ends_with_the_connection(broker: FleetProcesses) -> None:
    with keeper(broker.url) as first:
        first.publish("a")
        wait_until(lambda: first.got)
    with keeper(broker.url, Session()) as second:
        second.publish("b")
        wait_until(lambda: second.got)
        assert second.names == ["b"]


@needs_mosquitto
def test_a_filter_of_an_earlier_configuration_blocks_nothing(
    broker: FleetProcesses, caplog: pytest.LogCaptureFixture
) -> None:
    with keeper(broker.url, topic="old/#") as first:
        for _ in range(SESSION.window):
            first.transport.publish("old/a", b"", qos=1)
        wait_until(lambda: len(first.got) == SESSION.window)
    with keeper(broker.url) as second:
        second.publish("new")
        wait_until(lambda: second.got)
        assert second.names == ["new"]
    assert "no longer ask for" in caplog.text


@needs_mosquitto
def test_what_a_killed_broker_forgot_is_sent_again(broker: FleetProcesses) -> None:
    """It has no persistence here: it forgets everything that it acknowledged."""
    with keeper(broker.url) as client:
        for name in "ab":
            client.publish(name)
        wait_until(lambda: len(client.got) == 2 and len(client.stored) == 2)
        broker.kill("broker")
        broker.start_broker("mosquitto")
        wait_until(lambda: len(client.got) == 4)
        assert client.names == ["a", "b", "a", "b"]
        assert client.stored == ["a", "b"]  # told once


@needs_mosquitto
def test_what_nobody_hears_is_sent_until_somebody_does(broker: FleetProcesses) -> None:
    with keeper(broker.url) as client:
        stored: list[str] = []
        client.transport.publish("early", b"", qos=1, on_puback=lambda: stored.append("early"))
        wait_until(lambda: client.transport.problem)
        assert client.transport.problem == "nobody listens on early"
        assert stored == []
        late = MqttTransport(BrokerConfig(url=broker.url), client_id="late")
        got: list[Message] = []
        late.subscribe("early", got.append)
        late.start(on_ready=lambda: None, on_refused=lambda _error: None)
        wait_until(lambda: got and stored)
        wait_until(lambda: not client.transport.problem)
        late.stop()


@needs_mosquitto
def test_a_message_over_the_brokers_limit_is_not_sent(fleet: FleetProcesses) -> None:
    fleet.start_broker("mosquitto", "max_packet_size 2000")
    with keeper(fleet.url) as client:
        with pytest.raises(MessageError, match="packets of 2000 at most"):
            client.publish("big", bytes(2000))
        client.publish("fits", bytes(1900))
        wait_until(lambda: client.got)
        assert (client.names, client.ready) == (["fits"], 1)


@needs_mosquitto
def test_a_refused_publish_is_a_problem_that_can_be_seen(
    fleet: FleetProcesses, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "acl").write_text("topic read work/#\n")
    fleet.start_broker("mosquitto", f"acl_file {tmp_path}/acl", "user root")
    with keeper(fleet.url) as client:
        for name in "abc":
            client.publish(name)
        wait_until(lambda: client.transport.problem)
        assert client.transport.problem == "the broker refuses what we publish: not authorized"
        assert client.stored == []
    assert len([r for r in caplog.records if "refuses what we publish" in r.getMessage()]) == 1


@needs_mosquitto
def test_a_failing_handler_blocks_nothing(
    broker: FleetProcesses, caplog: pytest.LogCaptureFixture
) -> None:
    client = Keeper(broker.url)

    def fail(message: Message) -> None:
        client.got.append(message)
        raise ValueError

    client.transport.subscribe("bad/#", fail, qos=1, manual_ack=True)
    client.start()
    for _ in range(2 * SESSION.window):
        client.transport.publish("bad/a", b"", qos=1)
    wait_until(lambda: len(client.got) == 2 * SESSION.window)
    client.transport.stop()
    assert "message on bad/a lost" in caplog.text


def test_a_dead_link_is_noticed_within_one_and_a_half_keepalives() -> None:
    """A peer that answers CONNECT and then nothing at all, as if its cable were cut."""
    keepalive_s = 4
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = Keeper(f"mqtt://127.0.0.1:{server.getsockname()[1]}", keepalive_s=keepalive_s)
        starting = threading.Thread(
            target=client.transport.start,
            kwargs={"on_ready": lambda: None, "on_refused": lambda _error: None},
        )
        starting.start()
        connection, _ = server.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"\x20\x03\x00\x00\x00")  # CONNACK, success, no properties
            begin = time.monotonic()
            server.settimeout(3 * keepalive_s)
            server.accept()[0].close()  # it connected again
            waited = time.monotonic() - begin
        client.transport.stop()
        starting.join()
    assert keepalive_s / 2 < waited < 1.5 * keepalive_s + 0.5  # the backoff is at most 0.5 s
