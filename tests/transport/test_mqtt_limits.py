"""The transport keeps to what a broker says in CONNACK, and to what it shows by hanging up."""

import logging
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from devit_iot.config.config import BrokerConfig
from devit_iot.errors import BrokerError, MessageError
from devit_iot.transport import backoff
from devit_iot.transport.base import Will
from devit_iot.transport.mqtt import MqttTransport
from tests.support.fleets import wait_until
from tests.support.stand_in_broker import Behaviour, StandInBroker


class Sender:
    """A transport whose messages are accounted for."""

    def __init__(
        self, broker: StandInBroker, *, will: Will | None = None, queue: int = 100
    ) -> None:
        self.ready = 0
        self.refused: list[BrokerError] = []
        self.stored: list[str] = []
        self.given_up: list[MessageError] = []
        self.got: list[bytes] = []
        config = BrokerConfig(url=broker.url, queue=queue)
        self.transport = MqttTransport(config, client_id="sender", will=will)

    def start(self) -> None:
        self.transport.start(on_ready=self._on_ready, on_refused=self.refused.append)

    def publish_every(self, topic: str, payload: bytes = b"image") -> None:
        """Publish what must not be lost."""
        self.transport.publish(
            topic,
            payload,
            qos=1,
            on_puback=lambda: self.stored.append(topic),
            on_given_up=self.given_up.append,
        )

    def _on_ready(self) -> None:
        self.ready += 1


@contextmanager
def sender(broker: StandInBroker, **options: object) -> Iterator[Sender]:
    made = Sender(broker, **options)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        made.transport.stop()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connect again at once, so that a test of many connections is short."""
    monkeypatch.setattr(backoff, "FIRST_PAUSE_S", 0.01)


@pytest.mark.parametrize("ack_delay_s", [0.005, 0.1])
@pytest.mark.usefixtures("impatient")
def test_the_receive_maximum_is_kept_across_a_restart(ack_delay_s: float) -> None:
    behaviour = Behaviour(receive_maximum=10, ack_delay_s=ack_delay_s)
    with StandInBroker(behaviour) as broker, sender(broker) as a:
        topics = [f"image/{number}" for number in range(60)]
        for topic in topics[:30]:  # before there is a connection
            a.publish_every(topic)
        a.start()
        wait_until(lambda: len(a.stored) > 5)
        broker.restart()
        for topic in topics[30:]:
            a.publish_every(topic)
        wait_until(lambda: len(a.stored) == 60, 60)
        assert sorted(a.stored) == sorted(topics)
        assert broker.exceeded == 0
        assert 1 < broker.largest <= 10
        assert a.ready == 2


@pytest.mark.usefixtures("impatient")
def test_what_the_broker_hangs_up_for_is_given_up_and_all_else_arrives() -> None:
    """A broker of MQTT 3.1.1 cannot say what it takes."""
    behaviour = Behaviour(ack_delay_s=0.01, max_packet=10_000, version=4)
    with StandInBroker(behaviour) as broker, sender(broker) as a:
        for number in range(40):
            a.publish_every(
                f"image/{number}", bytes(20_000) if number in {13, 14, 39} else b"small"
            )
        a.start()
        wait_until(lambda: len(a.stored) + len(a.given_up) == 40, 60)
        assert {error.reason for error in a.given_up} == {"hangs_up"}
        assert len(a.stored) == 37
        assert "20000 bytes on 'image/13'; the broker hangs up for it" in str(a.given_up[0])
        assert len({payload for _, payload in broker.received}) == 1


def test_a_message_over_the_limit_of_a_later_connection_is_given_up() -> None:
    behaviour = Behaviour(properties=b"\x27" + struct.pack("!I", 1000))
    with StandInBroker(behaviour) as broker, sender(broker) as a:
        a.publish_every("big", bytes(2000))
        a.publish_every("small", bytes(20))
        a.start()
        wait_until(lambda: a.stored)
        assert [error.reason for error in a.given_up] == ["packet_size"]
        with pytest.raises(MessageError, match="takes packets of 1000 at most"):
            a.publish_every("big", bytes(2000))
        assert a.ready == 1


def test_a_broker_of_qos_0_takes_what_may_be_lost() -> None:
    with StandInBroker(Behaviour(properties=b"\x24\x00")) as broker, sender(broker) as a:
        a.transport.publish("status", b"early", qos=1)
        a.start()
        wait_until(lambda: a.ready)
        a.transport.publish("status", b"late", qos=1)
        wait_until(lambda: len(broker.received) == 2)
        assert broker.largest == 0
        with pytest.raises(MessageError) as caught:
            a.publish_every("image/1")
        assert caught.value.reason == "qos"


def test_a_broker_without_retained_messages_gets_none() -> None:
    with StandInBroker(Behaviour(properties=b"\x25\x00")) as broker, sender(broker) as a:
        a.start()
        wait_until(lambda: a.ready)
        with pytest.raises(MessageError) as caught:
            a.transport.publish("label", b"cat", qos=1, retain=True)
        assert caught.value.reason == "retain"


@pytest.mark.parametrize(
    ("code", "remedy"),
    [(0x9A, "retain_available true"), (0x9B, "max_qos"), (0x9C, "set broker.url"), (0x9D, "set ")],
)
def test_what_the_broker_will_never_do_ends_the_service(code: int, remedy: str) -> None:
    server = b"\x1c\x00\x0bhub.example"
    behaviour = Behaviour(connack=code, properties=server if code > 0x9B else b"")
    with StandInBroker(behaviour) as broker, sender(broker, will=Will("will", b"gone")) as a:
        a.start()
        wait_until(lambda: a.refused)
        assert remedy in str(a.refused[0])
        assert ("(hub.example)" in str(a.refused[0])) == (code > 0x9B)
        assert broker.connects == 1


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(connack=0x88),  # server unavailable
        Behaviour(connack=0x89),  # server busy
        Behaviour(connack=0x97),  # quota exceeded
        Behaviour(connack=0x9F),  # connection rate exceeded
        Behaviour(hang_up=True),
    ],
    ids=["unavailable", "busy", "quota", "rate", "hangs up"],
)
def test_a_broker_that_turns_us_away_is_asked_less_and_less_often(
    behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    pause_s = backoff.Backoff.pause_s

    def noted(self: backoff.Backoff, served_s: float) -> float:
        pauses.append(pause_s(self, served_s))
        return 0.001

    monkeypatch.setattr(backoff.Backoff, "pause_s", noted)
    with StandInBroker(behaviour) as broker, sender(broker) as a:
        a.start()
        wait_until(lambda: len(pauses) >= 9)
        assert pauses[8] >= 15.0
        assert not a.refused


def test_the_reason_of_a_disconnect_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with StandInBroker(Behaviour()) as broker, sender(broker) as a:
        a.start()
        wait_until(lambda: a.ready)
        broker.behaviour.receive_maximum, broker.behaviour.ack_delay_s = 1, 1000.0
        for number in range(3):
            a.publish_every(f"image/{number}")
        wait_until(lambda: "is gone (receive maximum exceeded)" in caplog.text)


def test_the_pause_grows_until_a_connection_lasts() -> None:
    waits = backoff.Backoff()
    first = [waits.pause_s(0.0) for _ in range(10)]
    assert 0.25 <= first[0] <= 0.5
    assert all(15.0 <= pause <= backoff.MAX_PAUSE_S for pause in first[7:])
    assert waits.pause_s(59.0) >= 15.0  # it served for less than twice the pause
    assert waits.pause_s(61.0) <= 0.5
    assert waits.pause_s(1.1) <= 0.5
    assert 0.5 <= waits.pause_s(0.9) <= 1.0


def test_two_clients_of_one_name_do_not_storm_the_broker() -> None:
    one, two = backoff.Backoff(), backoff.Backoff()
    begin = time.monotonic()
    pauses = [1.0, 1.0]
    for turn in range(40):  # each serves as long as the other waits
        pauses[turn % 2] = (one, two)[turn % 2].pause_s(pauses[1 - turn % 2])
    assert min(pauses) >= 15.0
    assert time.monotonic() - begin < 60
