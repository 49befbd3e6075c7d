"""What `devit homeassistant remove` and `devit forget` take off the broker, and nothing else."""

import pytest

from devit_iot.errors import BrokerError, ConfigError
from devit_iot.homeassistant.cells import CellDevices
from devit_iot.homeassistant.devices import Devices, device_id
from devit_iot.homeassistant.remove import Removal, Wanted, announcements, members, whole_cell
from devit_iot.protocol.cells import CellTopics
from devit_iot.protocol.topics import DiscoveryTopics, Topics
from devit_iot.transport.base import Message, Transport
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from tests.golden.make import LABEL, NODE_STATUS_3, STEADY_STATE

TOPICS = DiscoveryTopics()


def remove(transport: Transport, wanted: Wanted) -> list[str]:
    """What a removal that waits for nothing in memory deletes."""
    return Removal(transport, wanted, quiet_s=0.05, limit_s=0.2).run()


@pytest.fixture
def broker() -> MemoryBroker:
    """Retains two fleets' devices, and other programs'."""
    made = MemoryBroker()
    for fleet in ("home", "home-2"):
        devices = Devices(fleet, shards=1, version="1")
        for device, payload in (devices.fleet(), devices.camera("door"), devices.camera("hall")):
            made.publish(TOPICS.device(device), payload, retain=True)
    others = b'{"device": {"identifiers": ["x"]}, "origin": {"name": "other"}, "components": {}}'
    made.publish(TOPICS.device("0x00124b"), others, retain=True)
    made.publish(TOPICS.device(device_id("home", "camera", "theirs")), others, retain=True)
    made.publish(TOPICS.device(device_id("home", "camera", "broken")), b"\xff{", retain=True)
    return made


def test_what_the_fleet_announced_and_nothing_else(broker: MemoryBroker) -> None:
    before = dict(broker.retained)
    removed = remove(MemoryTransport(broker), announcements("home", TOPICS))
    ids = [device_id("home", "fleet"), *(device_id("home", "camera", n) for n in ("door", "hall"))]
    assert removed == sorted(map(TOPICS.device, ids))
    assert broker.retained == {t: p for t, p in before.items() if t not in removed}
    assert remove(MemoryTransport(broker), announcements("home", TOPICS)) == []
    assert broker.clients == []


def test_under_another_prefix_there_is_nothing(broker: MemoryBroker) -> None:
    before = dict(broker.retained)
    assert remove(MemoryTransport(broker), announcements("home", DiscoveryTopics("ha"))) == []
    assert broker.retained == before


def test_what_an_aggregator_says_meanwhile_is_no_failure(broker: MemoryBroker) -> None:
    class Busy(MemoryTransport):
        def deliver(self, message: Message, qos: int) -> None:
            super().deliver(message, qos)
            if message.topic.endswith("camera-door/config") and not message.payload:
                _, payload = Devices("home", shards=1, version="1").camera("door")
                super().deliver(message._replace(payload=payload), qos)

    assert len(remove(Busy(broker), announcements("home", TOPICS))) == 3


def test_a_broker_that_takes_nothing_is_named(broker: MemoryBroker) -> None:
    class Denied(MemoryTransport):
        def publish(self, *_: object, **__: object) -> None:
            """What mosquitto does with a message that its list forbids."""

    with pytest.raises(BrokerError, match=r"did not delete 3 of 3 .* access list"):
        remove(Denied(broker), announcements("home", TOPICS))


HOME = Topics("home")


@pytest.fixture
def crowded(broker: MemoryBroker) -> MemoryBroker:
    """Retains labels and statuses of the two fleets too."""
    devices = Devices("home", shards=1, version="1")
    device, payload = devices.node("pi-3", NODE_STATUS_3, has_thermometer=False)
    broker.publish(TOPICS.device(device), payload, retain=True)
    for topics in (HOME, Topics("home-2")):
        for camera in ("door", "hall", "door-2"):
            broker.publish(topics.label(camera), LABEL.encode(), retain=True)
        for node in ("pi-3", "pi-30"):
            broker.publish(topics.node_status(node), NODE_STATUS_3.encode(), retain=True)
        for shard in (0, 1):
            broker.publish(topics.aggregator_status(shard), b"{}", retain=True)
    return broker


def forgotten(broker: MemoryBroker, wanted: Wanted) -> list[str]:
    """Topics of what was deleted of them; nothing else may change."""
    before = dict(broker.retained)
    deleted = remove(MemoryTransport(broker), wanted)
    assert broker.retained == {t: p for t, p in before.items() if t not in deleted}
    return deleted


def test_a_camera_is_forgotten_with_its_device_and_no_other(crowded: MemoryBroker) -> None:
    device = TOPICS.device(device_id("home", "camera", "door"))
    assert forgotten(crowded, members(HOME, TOPICS, cameras=["door"])) == [
        HOME.label("door"),
        device,
    ]
    assert forgotten(crowded, members(HOME, TOPICS, cameras=["door", "nobody"])) == []


def test_a_camera_is_forgotten_with_the_labels_of_all_of_its_heads(crowded: MemoryBroker) -> None:
    for camera in ("door", "hall"):
        for head in ("gate", "post"):
            crowded.publish(HOME.head_label(camera, head), LABEL.encode(), retain=True)
        crowded.publish(HOME.state(camera, "gate"), STEADY_STATE.encode(), retain=True)
    assert forgotten(crowded, members(HOME, TOPICS, cameras=["door"])) == [
        HOME.label("door"),
        HOME.head_label("door", "gate"),
        HOME.head_label("door", "post"),
        HOME.state("door", "gate"),
        TOPICS.device(device_id("home", "camera", "door")),
    ]


def test_a_node_and_an_aggregator_are_forgotten(crowded: MemoryBroker) -> None:
    device = TOPICS.device(device_id("home", "node", "pi-3"))
    assert forgotten(crowded, members(HOME, TOPICS, nodes=["pi-3"])) == [
        HOME.node_status("pi-3"),
        device,
    ]
    assert forgotten(crowded, members(HOME, TOPICS, shards=[1])) == [HOME.aggregator_status(1)]


def test_what_others_announced_under_a_cameras_id_stays(crowded: MemoryBroker) -> None:
    assert forgotten(crowded, members(HOME, TOPICS, cameras=["theirs", "broken"])) == []


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "door\n", "x" * 65])
def test_what_no_camera_can_be_called_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="no camera can be called"):
        members(HOME, TOPICS, cameras=[name])


def test_what_no_node_can_be_called_is_refused() -> None:
    with pytest.raises(ConfigError, match="node '\\+'"):
        members(HOME, TOPICS, nodes=["+"])


@pytest.fixture
def upper() -> MemoryBroker:
    """Retains what two cells said, and their devices."""
    made = MemoryBroker()
    devices = CellDevices("home", version="1")
    for cell in ("hall", "hall2"):
        topics = CellTopics("home", cell)
        for topic in (topics.label("door"), topics.label("gate"), topics.node_status("pi-0")):
            made.publish(topic, LABEL.encode(), retain=True)
        made.publish(topics.state("door", "gate"), STEADY_STATE.encode(), retain=True)
        made.publish(topics.connected, b"0", retain=True)
        for device, payload in (devices.cell(cell, 1), devices.camera(f"{cell}/door")):
            made.publish(TOPICS.device(device), payload, retain=True)
    return made


def test_a_camera_that_left_a_cell_goes_there_and_nowhere_else(upper: MemoryBroker) -> None:
    topics = CellTopics("home", "hall")
    removed = remove(MemoryTransport(upper), members(topics, TOPICS, cameras=["door"]))
    assert removed == sorted(
        [
            topics.label("door"),
            topics.state("door", "gate"),
            TOPICS.device(device_id("home", "camera", "hall/door")),
        ]
    )


def test_a_cell_that_is_gone_goes_whole_and_no_other(upper: MemoryBroker) -> None:
    before = set(upper.retained)
    topics = CellTopics("home", "hall")
    removed = remove(MemoryTransport(upper), whole_cell(topics, TOPICS))
    assert len(removed) == len(before) // 2
    assert before - set(removed) == set(upper.retained)
    assert all("hall2" in topic for topic in upper.retained)
