"""`devit homeassistant remove` takes a fleet's announcements off the broker, and no others."""

import pytest

from devit_iot.errors import BrokerError
from devit_iot.homeassistant import Devices, device_id
from devit_iot.services import forget
from devit_iot.services.forget import Forgetting
from devit_iot.topics import DiscoveryTopics
from devit_iot.transport.base import Message
from devit_iot.transport.memory import MemoryBroker, MemoryTransport

TOPICS = DiscoveryTopics()


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forget, "_QUIET_S", 0.05)
    monkeypatch.setattr(forget, "_LIMIT_S", 0.2)


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
    removed = Forgetting("home", MemoryTransport(broker), TOPICS).run()
    ids = [device_id("home", "fleet"), *(device_id("home", "camera", n) for n in ("door", "hall"))]
    assert removed == sorted(map(TOPICS.device, ids))
    assert broker.retained == {t: p for t, p in before.items() if t not in removed}
    assert Forgetting("home", MemoryTransport(broker), TOPICS).run() == []
    assert broker.clients == []


def test_under_another_prefix_there_is_nothing(broker: MemoryBroker) -> None:
    before = dict(broker.retained)
    assert Forgetting("home", MemoryTransport(broker), DiscoveryTopics("ha")).run() == []
    assert broker.retained == before


def test_what_an_aggregator_says_meanwhile_is_no_failure(broker: MemoryBroker) -> None:
    class Busy(MemoryTransport):
        def deliver(self, message: Message, qos: int) -> None:
            super().deliver(message, qos)
            if message.topic.endswith("camera-door/config") and not message.payload:
                _, payload = Devices("home", shards=1, version="1").camera("door")
                super().deliver(message._replace(payload=payload), qos)

    assert len(Forgetting("home", Busy(broker), TOPICS).run()) == 3


def test_a_broker_that_takes_nothing_is_named(broker: MemoryBroker) -> None:
    class Denied(MemoryTransport):
        def publish(self, *_: object, **__: object) -> None:
            """What mosquitto does with a message that its list forbids."""

    with pytest.raises(BrokerError, match=r"did not delete 3 of 3 .* access list"):
        Forgetting("home", Denied(broker), TOPICS).run()
