"""What `devit upper` tells Home Assistant and Prometheus of many cells."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from devit_iot.config.states import StateConfig
from devit_iot.demo.processes import free_port
from devit_iot.errors import MessageError
from devit_iot.homeassistant.announcer import Announcer
from devit_iot.homeassistant.cells import CellDevices
from devit_iot.homeassistant.devices import belongs_to, device_id
from devit_iot.monitor.cell_facts import MAX_MEMBERS, CellFacts
from devit_iot.monitor.cell_metrics import samples
from devit_iot.monitor.upper import MAX_SHARDS, Upper
from devit_iot.protocol.cells import CellTopics
from devit_iot.protocol.topics import DiscoveryTopics
from devit_iot.service import metrics
from devit_iot.service.exporter import exporting_samples
from devit_iot.transport.base import Message
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from tests.golden.make import AGGREGATOR_STATUS, LABEL, NODE_STATUS_3, STEADY_STATE
from tests.support.fleets import wait_until

HALL, YARD = CellTopics("home", "hall"), CellTopics("home", "yard")
DISCOVERY = DiscoveryTopics()
AGGREGATOR = msgspec.structs.replace(AGGREGATOR_STATUS, state="online", shard="0/1")
LABELLED = msgspec.structs.replace(LABEL, camera="door")


class Speaking:
    """A service at a broker in this process."""

    def __init__(self, *, announces: bool = True) -> None:
        self.broker = MemoryBroker()
        transport = MemoryTransport(self.broker)
        devices = CellDevices("home", version="1")
        announcer = None
        if announces:
            announcer = Announcer(
                devices, transport, topics=DISCOVERY, state_rule=lambda _: StateConfig()
            )
        self.service = Upper("home", transport, devices, announcer)

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self.service.run)
        thread.start()
        try:
            wait_until(lambda: not self.service.health_problem())
            yield
        finally:
            self.service.stop()
            thread.join()

    def say(self, topics: CellTopics) -> None:
        for topic, payload in (
            (topics.connected, b"1"),
            (topics.node_status("pi-1"), NODE_STATUS_3.encode()),
            (topics.aggregator_status(0), AGGREGATOR.encode()),
            (topics.label("door"), LABELLED.encode()),
        ):
            self.broker.publish(topic, payload, retain=True)

    def announced(self, kind: str, name: str) -> dict[str, object]:
        topic = DISCOVERY.device(device_id("home", kind, name))
        wait_until(lambda: topic in self.broker.retained)
        found: dict[str, object] = json.loads(self.broker.retained[topic])
        return found


def topics_in(value: object) -> Iterator[str]:
    """Every topic that an announcement names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key.endswith("topic"):
                yield inner
            yield from topics_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from topics_in(inner)


def test_cells_cameras_and_nodes_are_announced_with_their_cell() -> None:
    home = Speaking()
    with home.running():
        home.say(HALL)
        home.say(YARD)
        for cell in ("hall", "yard"):
            for kind, name in (
                ("camera", f"{cell}/door"),
                ("node", f"{cell}/pi-1"),
                ("cell", cell),
            ):
                announced = home.announced(kind, name)
                assert name in str(announced["device"])
                found = [*topics_in(announced)]
                assert found
                assert all(topic.startswith(f"cells/{cell}/") for topic in found)
                assert belongs_to(device_id("home", kind, name), "home")


def test_what_a_cell_says_is_unavailable_while_it_is_cut_off() -> None:
    home = Speaking()
    with home.running():
        home.say(HALL)
        for kind, name in (("camera", "hall/door"), ("node", "hall/pi-1")):
            availability = home.announced(kind, name)["availability"]
            bridge = {
                "topic": HALL.connected,
                "payload_available": "1",
                "payload_not_available": "0",
            }
            assert bridge in availability  # type: ignore[operator]
            assert home.announced(kind, name)["availability_mode"] == "all"


def test_a_state_that_comes_later_becomes_a_sensor() -> None:
    home = Speaking()
    with home.running():
        home.say(HALL)
        components = home.announced("camera", "hall/door")["components"]
        assert "state_gate" not in components  # type: ignore[operator]
        state = msgspec.structs.replace(STEADY_STATE, camera="door")
        home.broker.publish(HALL.state("door", "gate"), state.encode(), retain=True)
        topic = DISCOVERY.device(device_id("home", "camera", "hall/door"))
        wait_until(lambda: b"state_gate" in home.broker.retained[topic])


def test_a_status_that_comes_again_announces_nothing() -> None:
    home = Speaking()
    with home.running():
        home.say(HALL)
        home.announced("camera", "hall/door")
        home.announced("cell", "hall")
        home.announced("node", "hall/pi-1")
        before = [topic for topic, _ in home.broker.log if topic.startswith("homeassistant")]
        home.say(HALL)
        home.say(YARD)
        home.announced("cell", "yard")
        after = [topic for topic, _ in home.broker.log if topic.startswith("homeassistant")]
        assert not [topic for topic in after[len(before) :] if "hall" in topic]


@pytest.mark.parametrize("shard", ["0/0", "0/99999", "0/x", "", "0/-1", "0/1e3", "0/\u0664"])
def test_a_shard_from_the_wire_ends_nothing(shard: str) -> None:
    home = Speaking()
    with home.running():
        status = msgspec.structs.replace(AGGREGATOR, shard=shard)
        home.broker.publish(HALL.aggregator_status(0), status.encode(), retain=True)
        components = home.announced("cell", "hall")["components"]
        assert len(components) <= 2 * MAX_SHARDS + 2  # type: ignore[arg-type]


def test_rubbish_is_counted_and_the_next_message_counts() -> None:
    home = Speaking(announces=False)
    with home.running():
        home.broker.publish(HALL.label("door"), b"\xff")
        home.broker.publish("cells/a b/connected", b"1")
        home.say(HALL)
        wait_until(lambda: home.service.facts.cameras)
    assert home.service.facts.connected == {"hall": True}


def test_members_are_bounded_and_the_forgotten_go() -> None:
    facts = CellFacts("home")

    def take(topic: str, payload: bytes) -> None:
        facts.take(Message(topic, payload, retained=False))

    for number in range(MAX_MEMBERS):
        take(HALL.node_status(f"pi-{number}"), NODE_STATUS_3.encode())
    with pytest.raises(MessageError):
        take(HALL.node_status("one-more"), NODE_STATUS_3.encode())
    take(HALL.node_status("pi-0"), b"")
    take(YARD.node_status("pi-0"), NODE_STATUS_3.encode())
    take(HALL.connected, b"")
    assert [str(place) for place in facts.nodes] == ["yard/pi-0"]


def test_metrics_of_all_cells_stand_side_by_side() -> None:
    facts = CellFacts("home")
    for topics in (HALL, YARD):
        for topic, payload in (
            (topics.connected, b"1" if topics is HALL else b"0"),
            (topics.node_status("pi-1"), NODE_STATUS_3.encode()),
            (topics.aggregator_status(0), AGGREGATOR.encode()),
        ):
            facts.take(Message(topic, payload, retained=False))
    found = {sample.name: sample for sample in samples(facts)}
    assert len(found) == len([*samples(facts)])  # each once, as Prometheus wants it
    assert found["devit_cell_connected"].children == {("hall",): 1.0, ("yard",): 0.0}
    labels = found["devit_aggregator_labels_published_total"]
    assert labels.labels == ("cell", "shard")
    assert labels.children == {
        ("hall", "0"): AGGREGATOR.labels,
        ("yard", "0"): AGGREGATOR.labels,
    }
    info = found["devit_node_info"]
    assert info.labels[:2] == ("cell", "node")
    assert all(len(values) == len(info.labels) for values in info.children)
    assert found.keys() <= {row.name for row in metrics.rows()}
    port = free_port()
    with exporting_samples(f"127.0.0.1:{port}", lambda: samples(facts), lambda: "no broker"):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        assert 'devit_cell_connected{cell="yard"} 0.0' in text
        assert 'devit_node_images_received_total{cell="hall",node="pi-1"}' in text
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10)
