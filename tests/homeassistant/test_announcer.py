"""When the aggregator tells Home Assistant what, and what it keeps to itself."""

import logging
from collections.abc import Iterator

import msgspec
import pytest

from devit_iot.config.config import Config
from devit_iot.config.states import StateConfig
from devit_iot.errors import MessageError
from devit_iot.homeassistant import announcer as announcer_module
from devit_iot.homeassistant.announcer import Announcer
from devit_iot.homeassistant.devices import Devices, device_id
from devit_iot.protocol.status import NodeStatus
from devit_iot.protocol.topics import HOME_ASSISTANT_STATUS, DiscoveryTopics
from devit_iot.transport.memory import MemoryBroker, MemoryTransport

TOPICS = DiscoveryTopics("ha")
STATUS = NodeStatus(
    state="online", node="pi-1", part=1, parts=4, fingerprint="00" * 8, version="1", machine="arm"
)
FLEET = TOPICS.device(device_id("home", "fleet"))
DOOR = TOPICS.device(device_id("home", "camera", "door"))
NODE = TOPICS.device(device_id("home", "node", "pi-1"))


class Home:
    """An announcer on a broker, and a clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.broker = MemoryBroker()
        self.transport = MemoryTransport(self.broker)
        self.announcer = Announcer(
            Devices("home", shards=1, version="1"),
            self.transport,
            topics=TOPICS,
            state_rule=Config(states={"gate": StateConfig(on="open")}).state_rule,
            delay_s=lambda: 3.0,
            clock=lambda: self.now,
        )

    def connect(self) -> None:
        self.transport.start(on_ready=self.announcer.connected, on_refused=lambda _error: None)

    def reconnect(self, after_s: float) -> None:
        self.transport.stop()
        self.now += after_s
        self.connect()

    def said(self) -> list[str]:
        """Refresh until nothing is due, and return the topics of what was announced by that."""
        before = len(self.broker.log)
        count = -1
        while count != len(self.broker.log):
            count = len(self.broker.log)
            self.announcer.refresh()
        return [topic for topic, _ in self.broker.log[before:]]


@pytest.fixture
def home() -> Iterator[Home]:
    made = Home()
    yield made
    made.transport.stop()


def test_on_connecting_the_fleet_then_what_is_seen(home: Home) -> None:
    assert home.said() == []  # not connected yet
    home.connect()
    assert home.said() == [FLEET]
    home.announcer.see_node("pi-1", STATUS)
    home.announcer.see_camera("door", {})
    assert home.said() == [NODE, DOOR]
    assert {FLEET, NODE, DOOR} == set(home.broker.retained)
    home.announcer.see_camera("door", {})
    home.announcer.see_node("pi-1", msgspec.structs.replace(STATUS, published=3, uptime_s=9.0))
    assert home.said() == []  # nothing new


def test_all_of_it_on_each_connection(home: Home) -> None:
    home.connect()
    home.announcer.see_camera("door", {})
    home.said()
    home.broker.retained.clear()  # a broker that lost its disk
    home.reconnect(after_s=60)
    assert sorted(home.said()) == sorted([FLEET, DOOR])


def test_again_some_time_after_home_assistant_has_started(home: Home) -> None:
    home.connect()
    home.announcer.see_camera("door", {})
    home.said()
    home.broker.publish(HOME_ASSISTANT_STATUS, b"online")
    assert home.said() == []
    home.now += 2.9
    assert home.said() == []
    home.now += 0.2
    assert home.said() == [FLEET, DOOR]
    assert home.said() == []


@pytest.mark.parametrize("payload", [b"offline", b"", b"\xff" * 100, b"online "])
def test_not_for_anything_else_that_is_said_there(home: Home, payload: bytes) -> None:
    home.connect()
    home.said()
    home.broker.publish(HOME_ASSISTANT_STATUS, payload)
    home.now += 100
    assert home.said() == []


def test_a_retained_birth_is_old(home: Home) -> None:
    home.broker.publish(HOME_ASSISTANT_STATUS, b"online", retain=True)
    home.connect()
    assert home.said() == [FLEET]
    home.now += 100
    assert home.said() == []


def test_a_node_that_changed_is_described_anew(home: Home) -> None:
    home.connect()
    home.announcer.see_node("pi-1", STATUS)
    home.said()
    home.announcer.see_node("pi-1", msgspec.structs.replace(STATUS, version="2"))
    assert home.said() == [NODE]
    assert b'"sw_version":"2"' in home.broker.retained[NODE]


def test_a_node_that_left_the_fleet_is_not_announced_again(home: Home) -> None:
    home.connect()
    home.announcer.see_node("pi-1", STATUS)
    home.said()
    home.announcer.forget_node("pi-1")
    home.announcer.forget_node("nobody")
    home.reconnect(after_s=60)
    assert home.said() == [FLEET]
    home.announcer.see_node("pi-1", STATUS)
    assert home.said() == [NODE]


def test_a_thermometer_is_announced_once_it_was_seen_and_stays(home: Home) -> None:
    home.connect()
    home.announcer.see_node("pi-1", STATUS)
    home.said()
    assert b"temperature" not in home.broker.retained[NODE]
    home.announcer.see_node("pi-1", msgspec.structs.replace(STATUS, temperature_c=50.0))
    assert home.said() == [NODE]
    assert b"temperature" in home.broker.retained[NODE]
    home.announcer.see_node("pi-1", STATUS)
    assert home.said() == []


def test_a_restart_changes_no_byte(home: Home) -> None:
    other = Home()
    other.broker = home.broker
    for one in (home, other):
        one.connect()
        one.announcer.see_camera("door", {})
        one.announcer.see_node("pi-1", STATUS)
        one.said()
    other.transport.stop()
    assert other.broker.retained == home.broker.retained


def test_no_more_cameras_and_nodes_than_it_can_bear(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(announcer_module, "MAX_CAMERAS", 3)
    monkeypatch.setattr(announcer_module, "MAX_NODES", 2)
    home.connect()
    for number in range(9):
        home.announcer.see_camera(f"door-{number}", {})
        home.announcer.see_node(f"pi-{number}", STATUS)
    assert len(home.said()) == 1 + 3 + 2
    home.announcer.see_node("pi-0", msgspec.structs.replace(STATUS, version="2"))
    assert home.said() == [TOPICS.device(device_id("home", "node", "pi-0"))]  # a known one may
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert "first 3 cameras" in caplog.text


def test_a_flood_of_announcements_comes_in_pieces(home: Home) -> None:
    home.connect()
    for number in range(40):
        home.announcer.see_camera(f"door-{number}", {})
    before = len(home.broker.log)
    home.announcer.refresh()
    assert 0 < len(home.broker.log) - before < 40
    assert len(home.said()) > 0
    assert len(home.broker.retained) == 41


def test_a_broker_that_hangs_up_is_left_in_peace(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    """RabbitMQ ends the connection of a client that publishes what it must not."""
    home.connect()
    rounds = 0
    while home.said():
        rounds += 1
        assert rounds < 10
        home.reconnect(after_s=0.5)
    assert rounds == 3
    assert "--homeassistant false" in caplog.text
    home.announcer.see_camera("door", {})
    assert home.said() == []
    home.reconnect(after_s=500)  # perhaps its list was corrected
    assert home.said() == [FLEET, DOOR]


def test_a_broker_that_is_restarted_now_and_then_is_not_given_up(home: Home) -> None:
    home.connect()
    for _ in range(10):
        assert home.said() == [FLEET]
        home.reconnect(after_s=6)


def test_an_announcement_that_is_too_large_costs_nothing_else(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    home.connect()
    publish = home.transport.publish

    def strict(topic: str, payload: bytes, *, retain: bool = False) -> None:
        if topic == FLEET:
            raise MessageError("packet_size", "message of 3000 bytes; the broker takes 2000")
        publish(topic, payload, retain=retain)

    monkeypatch.setattr(home.transport, "publish", strict)
    home.announcer.see_camera("door", {})
    assert home.said() == [DOOR]
    assert "not announced to Home Assistant" in caplog.text


def test_a_camera_that_was_silent_is_not_announced_again_before_its_next_label(home: Home) -> None:
    home.connect()
    home.announcer.see_camera("door", {})
    home.announcer.see_camera("gate", {})
    home.said()
    home.now += 400
    home.announcer.see_camera("gate", {})
    home.now += 400  # now the door was silent for longer than ten minutes
    home.reconnect(after_s=60)
    assert home.said() == [FLEET, TOPICS.device(device_id("home", "camera", "gate"))]
    home.announcer.see_camera("door", {})
    assert home.said() == [DOOR]


def test_a_camera_whose_heads_changed_is_described_anew(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    home.connect()
    home.announcer.see_camera("door", {"gate": ("closed", "open")})
    home.said()
    assert b'"binary_sensor"' in home.broker.retained[DOOR]
    home.announcer.see_camera("door", {"gate": ("closed", "open")})
    assert home.said() == []
    home.announcer.see_camera("door", {"gate": ("closed", "open", "ajar")})
    assert home.said() == [DOOR]
    assert b'"options":["closed","open","ajar"]' in home.broker.retained[DOOR]
    assert "states.gate.on is 'open', and the head's classes are closed, open, ajar" in caplog.text
    home.announcer.see_camera("door", {"default": ("closed", "open")})
    assert home.said() == [DOOR]
    assert b"State " not in home.broker.retained[DOOR]
