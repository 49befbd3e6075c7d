"""A board that is gone gives its part away, with a real hub, mosquitto and killed processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devit_iot.protocol.hub_status import INSTALL, HubStatus
from devit_iot.transport.base import Message
from tests.support.fleets import make_bundle, wait_until
from tests.support.hub_fleet import TOPICS, HubFleet, Judge, Watcher
from tests.support.mosquitto import needs_mosquitto

pytestmark = needs_mosquitto

WAIT_S = 120.0
TAKEOVER_S = 3.0


class Outside(Watcher):
    """Hears the hub's status too, and presses its button."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.hub: HubStatus | None = None
        self._transport.subscribe(TOPICS.hub_status, self._on_hub, qos=1)

    def _on_hub(self, message: Message) -> None:
        self.hub = HubStatus.decode(message.payload)

    def press(self, payload: bytes = INSTALL, *, retain: bool = False) -> None:
        """Ask the hub for something."""
        self._transport.publish(TOPICS.hub_command, payload, qos=1, retain=retain)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[HubFleet]:
    with HubFleet(tmp_path, f"takeover_s = {TAKEOVER_S}") as fleet:
        for name in ("broker", "hub", "aggregator"):
            fleet.start(name)
        yield fleet
        for name in ("hub", "aggregator", "pi-0", "pi-1", "pi-2"):
            log = fleet.log(name)
            print(f"--- {name}\n{log[-4000:]}")  # noqa: T201 - shown if a test fails
            assert "Traceback" not in log


def members(fleet: HubFleet) -> dict[str, int]:
    current = fleet.status().rollout.current
    return current.members if current is not None else {}


def wait_good(fleet: HubFleet, watcher: Watcher) -> None:
    with watcher.camera(3.0):
        wait_until(lambda: fleet.status().rollout.next is None, WAIT_S)
    assert "is good" in fleet.status().outcome
    wait_until(lambda: not watcher.missing, WAIT_S)


def serves(watcher: Watcher, name: str) -> bool:
    update = watcher.updates.get(name)
    return update is not None and update.state == "ACTIVATED" and update.part is not None


def test_a_spare_takes_over_and_who_comes_back_is_a_spare(fleet: HubFleet, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", parts=2)
    fleet.start("pi-0", "--part", "1")  # pinned
    fleet.start("pi-1")
    with Outside(fleet.url).connected() as watcher:
        assert isinstance(watcher, Outside)
        wait_until(lambda: len(fleet.status().nodes) == 2, WAIT_S)
        fleet.client.push(bundle, "")
        wait_good(fleet, watcher)
        assert members(fleet) == {"pi-0": 1, "pi-1": 0}
        fleet.start("pi-2")
        wait_until(lambda: "pi-2" in fleet.status().nodes, WAIT_S)
        fleet.kill("pi-1")
        with watcher.camera(5.0):
            wait_until(lambda: members(fleet) == {"pi-0": 1, "pi-2": 0}, WAIT_S)
            wait_until(lambda: serves(watcher, "pi-2"), WAIT_S)
            fleet.start("pi-1")
            wait_until(lambda: watcher.updates["pi-1"].part is None, WAIT_S)
        assert watcher.hub is not None
        assert "pi-2 takes over part 0 from pi-1" in watcher.hub.release_summary
        wait_until(lambda: not watcher.missing, WAIT_S)
        fleet.kill("pi-0")
        wait_until(lambda: members(fleet) == {"pi-0": 1, "pi-1": 1, "pi-2": 0}, WAIT_S)
        fleet.start("pi-0", "--part", "1")
        wait_until(lambda: fleet.status().nodes["pi-0"].online, WAIT_S)
        assert members(fleet)["pi-0"] == 1
        labels = [label for labels in watcher.labels.values() for label in labels]
    Judge(bundle).check(labels)


def test_what_is_offered_is_installed_by_a_button(fleet: HubFleet, tmp_path: Path) -> None:
    one, two = (make_bundle(tmp_path / f"b{seed}", parts=1, seed=seed) for seed in (0, 1))
    fleet.start("pi-0")
    with Outside(fleet.url).connected() as watcher:
        assert isinstance(watcher, Outside)
        wait_until(lambda: "pi-0" in fleet.status().nodes, WAIT_S)
        fleet.client.push(one, "")
        wait_good(fleet, watcher)
        fleet.client.push(two, "", offer=True)
        wait_until(lambda: watcher.hub is not None and watcher.hub.latest_version == "2", WAIT_S)
        watcher.press(b"rm -rf")
        watcher.press(retain=True)  # what the broker keeps counts once at most
        wait_until(lambda: "release 2" in fleet.status().outcome, WAIT_S)
        wait_good(fleet, watcher)
        assert fleet.status().rollout.current is not None
        assert watcher.hub is not None
        wait_until(lambda: watcher.hub and watcher.hub.installed_version == "2", WAIT_S)
        fleet.client.push(one, "", offer=True)
        fleet.kill("hub")
        wait_until(lambda: watcher.hub and watcher.hub.state == "offline", WAIT_S)
        fleet.start("hub")
        wait_until(lambda: watcher.hub and watcher.hub.state == "online", WAIT_S)
        assert watcher.hub.latest_version == "3"
        assert not watcher.hub.in_progress  # the old command did not press again
