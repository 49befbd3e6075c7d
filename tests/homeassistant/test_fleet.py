"""A real fleet appears in a real Home Assistant by itself, and goes without a trace."""

import subprocess

import pytest

from devit_iot.config.config import BrokerConfig
from devit_iot.demo.processes import FleetProcesses
from devit_iot.homeassistant.devices import device_id
from devit_iot.programs import own_program
from tests.e2e.watching import Viewer, known_images, watching
from tests.homeassistant.core import Core
from tests.support.fleets import wait_until
from tests.support.mosquitto import Client

WAIT_S = 120.0
PARTS = 4
DOOR = device_id("test", "camera", "door")
FLEET = device_id("test", "fleet")
NODE = [device_id("test", "node", f"node-{part}") for part in range(PARTS)]
PER_CAMERA = [f"{DOOR}-{key}" for key in ("label", "confidence", "degraded")]
PER_NODE = [f"{node}-{key}" for node in NODE for key in ("latency", "dropped", "online")]


class Screen:
    """What Home Assistant shows, by unique id."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def state(self, unique_id: str) -> str | None:
        entity = self._core.unique_ids().get(unique_id)
        return None if entity is None else self._core.state(entity)

    def wait(self, unique_id: str, *wanted: str) -> None:
        wait_until(lambda: self.state(unique_id) in wanted, WAIT_S)

    def wait_number(self, unique_id: str) -> None:
        """Wait for a number above zero."""

        def positive() -> bool:
            state = self.state(unique_id) or ""
            return state.replace(".", "").isdecimal() and float(state) > 0

        wait_until(positive, WAIT_S)

    def wait_all(self, unique_ids: list[str], wanted: str) -> None:
        for unique_id in unique_ids:
            self.wait(unique_id, wanted)


@pytest.fixture
def fleet(processes: FleetProcesses, core: Core) -> FleetProcesses:
    del core  # it runs before the fleet does
    for part in range(PARTS):
        processes.start_node(part)
    processes.start_aggregator()
    return processes


def remove(url: str) -> str:
    command = [*own_program("devit_iot.cli.devit"), "homeassistant", "remove"]
    options = ["--broker", url, "--fleet", "test"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    return done.stdout


def test_a_fleet_comes_and_goes(fleet: FleetProcesses, core: Core) -> None:
    screen = Screen(core)
    image, other = known_images()[:2]
    with watching(fleet.url) as viewer:
        viewer.wait_online(PARTS)
        appears(screen, viewer, image.payload)
        before = core.unique_ids()
        loses_a_node(screen, viewer, fleet, other.payload)
        loses_the_aggregator(screen, fleet)
        wait_until(lambda: core.unique_ids() == before, WAIT_S)
        fleet.terminate("aggregator")
    removed = remove(fleet.url).splitlines()
    assert len(removed) == 1 + 1 + PARTS
    wait_until(lambda: not core.unique_ids() and not core.devices(), WAIT_S)
    with Client(BrokerConfig(url=fleet.url), "homeassistant/#", client_id="late") as late:
        late.publish("homeassistant/marker", b"end")  # what is retained comes before it
        assert late.get()[0] == "homeassistant/marker"
    assert remove(fleet.url).startswith("nothing of fleet 'test'")
    assert "Traceback" not in fleet.log("aggregator")


def appears(screen: Screen, viewer: Viewer, image: bytes) -> None:
    label = viewer.ask("door", image)
    screen.wait(PER_CAMERA[0], label.label)
    assert float(screen.state(PER_CAMERA[1]) or "nan") == pytest.approx(
        100 * label.confidence, abs=0.01
    )
    screen.wait(PER_CAMERA[2], "off")
    screen.wait(f"{FLEET}-parts_online", str(PARTS))
    screen.wait(f"{FLEET}-problem_0", "off")
    for node in NODE:
        screen.wait(f"{node}-online", "on")
        screen.wait(f"{node}-dropped", "0")
        screen.wait_number(f"{node}-latency")


def loses_a_node(screen: Screen, viewer: Viewer, fleet: FleetProcesses, image: bytes) -> None:
    fleet.kill("node-2")
    screen.wait(f"{NODE[2]}-online", "off")
    screen.wait(f"{NODE[2]}-latency", "unavailable")
    screen.wait(f"{FLEET}-parts_online", str(PARTS - 1))
    viewer.show("door", image)
    screen.wait(PER_CAMERA[2], "on")
    fleet.start_node(2)
    screen.wait(f"{NODE[2]}-online", "on")
    screen.wait(f"{FLEET}-parts_online", str(PARTS))


def loses_the_aggregator(screen: Screen, fleet: FleetProcesses) -> None:
    fleet.kill("aggregator")
    screen.wait_all([*PER_CAMERA, *PER_NODE, f"{FLEET}-parts_online"], "unavailable")
    screen.wait(f"{FLEET}-aggregator_0", "off")
    fleet.start_aggregator()
    screen.wait(f"{FLEET}-aggregator_0", "on")
    screen.wait(f"{NODE[0]}-online", "on")
    wait_until(lambda: screen.state(PER_CAMERA[0]) != "unavailable", WAIT_S)
