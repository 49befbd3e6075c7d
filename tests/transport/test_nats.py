"""A NATS cluster: what it keeps when a broker is killed, and what it cannot do."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from devit_iot.config.config import BrokerConfig
from devit_iot.errors import MessageError
from devit_iot.transport.base import NO_SESSION, Message, Session
from devit_iot.transport.mqtt import MqttTransport
from tests.support.fleets import wait_until
from tests.support.nats import NatsCluster, needs_nats

pytestmark = needs_nats
SESSION = Session(expiry_s=600, window=100)
WAIT_S = 90.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    with NatsCluster(tmp_path_factory.mktemp("nats"), ack_wait="2s") as running:
        yield running


class Keeper:
    """A client with a session; remembers what it got, and acknowledges every second delivery."""

    def __init__(self, url: str, name: str, topic_filter: str) -> None:
        self.got: dict[str, int] = {}
        self.retained: dict[str, bytes] = {}
        self.transport = MqttTransport(BrokerConfig(url=url), client_id=name, session=SESSION)
        self.transport.subscribe(topic_filter, self._take, qos=1, manual_ack=True)

    def _take(self, message: Message) -> None:
        if message.retained:
            self.retained[message.topic] = message.payload
        times = self.got[message.topic] = self.got.get(message.topic, 0) + 1
        if times > 1 or len(self.got) % 2:
            self.transport.acknowledge(message)


@contextmanager
def connected(transport: MqttTransport) -> Iterator[MqttTransport]:
    ready = threading.Event()
    transport.start(on_ready=ready.set, on_refused=lambda _error: None)
    try:
        assert ready.wait(WAIT_S)
        yield transport
    finally:
        transport.stop()


def rotated(url: str, by: int) -> str:
    """The same brokers, another one first."""
    urls = url.split(",")
    return ",".join(urls[by:] + urls[:by])


def sender(url: str, session: Session = NO_SESSION) -> MqttTransport:
    return MqttTransport(BrokerConfig(url=url), client_id="sender", session=session)


@pytest.mark.parametrize("victim", ["of the publisher", "of the subscriber", "another"])
def test_nothing_is_lost_of_what_is_under_way_when_a_broker_is_killed(
    cluster: NatsCluster, victim: str
) -> None:
    """Neither what was acknowledged, nor what a subscriber had not acknowledged."""
    where = {"of the publisher": 0, "of the subscriber": 1, "another": 2}[victim]
    room = f"work-{where}"
    keeper = Keeper(rotated(cluster.url, 1), f"keeper-{where}", f"{room}/+")
    stored: list[int] = []
    with connected(keeper.transport), connected(sender(cluster.url)) as camera:
        for number in range(300):
            camera.publish(
                *(f"{room}/{number}", b"x" * 4000),
                qos=1,
                on_puback=partial(stored.append, number),
            )
            if number == 150:
                wait_until(lambda: len(stored) > 20, WAIT_S)
                assert len(stored) < 151, "nothing was in flight"
                cluster.kill(where)
        wait_until(lambda: len(set(stored)) == 300, WAIT_S)
        wait_until(lambda: len(keeper.got) == 300, WAIT_S)
        cluster.start(where)
        cluster.wait_whole()


def test_what_came_for_a_client_that_is_away_waits_though_a_broker_is_killed(
    cluster: NatsCluster,
) -> None:
    with connected(Keeper(cluster.url, "away", "away/+").transport):
        pass
    stored: list[int] = []
    with connected(sender(rotated(cluster.url, 1))) as camera:
        for number in range(20):
            camera.publish(f"away/{number}", b"x", qos=1, on_puback=lambda: stored.append(1))
        wait_until(lambda: len(stored) == 20, WAIT_S)
    cluster.kill(0)
    keeper = Keeper(cluster.url, "away", "away/+")
    with connected(keeper.transport):
        wait_until(lambda: len(keeper.got) == 20, WAIT_S)
    cluster.start(0)
    cluster.wait_whole()


def test_retained_statuses_outlive_one_broker_and_then_another(cluster: NatsCluster) -> None:
    with connected(sender(cluster.url)) as board:
        stored: list[int] = []
        for number in range(20):
            done = lambda: stored.append(1)  # noqa: E731
            board.publish(f"status/{number}", b"1", qos=1, retain=True, on_puback=done)
        wait_until(lambda: len(stored) == 20, WAIT_S)
    for turn in (0, 2):
        cluster.kill(turn)
        late = Keeper(rotated(cluster.url, turn), f"late-{turn}", "status/+")
        with connected(late.transport):
            wait_until(lambda: len(late.retained) == 20, WAIT_S)  # noqa: B023
        cluster.start(turn)
        cluster.wait_whole()


def test_a_topic_with_a_space_is_given_up_in_words_and_the_rest_goes_on(
    cluster: NatsCluster,
) -> None:
    """NATS throws its publisher out."""
    given_up: list[MessageError] = []
    stored: list[str] = []
    with connected(sender(cluster.url)) as camera:
        for topic in ("front door/image", "door/image"):
            camera.publish(
                *(topic, b"x"),
                qos=1,
                on_puback=partial(stored.append, topic),
                on_given_up=given_up.append,
            )
        wait_until(lambda: stored and given_up, WAIT_S)
    assert stored == ["door/image"]
    assert "'front door/image'" in str(given_up[0])
    assert "the broker hangs up for it" in str(given_up[0])


def test_a_session_ends_only_when_somebody_comes_without_one(cluster: NatsCluster) -> None:
    """MQTT 3.1.1 has no expiry: what waits for a member that is gone for good waits for ever."""
    with connected(Keeper(cluster.url, "gone", "gone/+").transport):
        pass
    with connected(MqttTransport(BrokerConfig(url=cluster.url), client_id="gone")):
        pass  # as `mosquitto_pub -i gone` does
    stored: list[int] = []
    with connected(sender(cluster.url)) as camera:
        camera.publish("gone/1", b"x", qos=1, on_puback=lambda: stored.append(1))
        wait_until(lambda: stored, WAIT_S)
    again = Keeper(cluster.url, "gone", "gone/+")
    with connected(again.transport), connected(sender(cluster.url)) as camera:
        camera.publish("gone/2", b"x", qos=1)
        wait_until(lambda: again.got, WAIT_S)
    assert set(again.got) == {"gone/2"}
