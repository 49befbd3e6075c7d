"""Two cells and an upper broker: cut off, killed, healed, and a camera that moves."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.conftest import Report
from tests.support.cable import Cable
from tests.support.cells import UPPER, CellsWorld, Watcher
from tests.support.fleets import wait_until
from tests.support.mosquitto import Client, needs_mosquitto

pytestmark = [pytest.mark.slow, needs_mosquitto]

COUNT = 60
MOVE_COUNT = 150  # enough for a slow machine to move before the last one
RATE = 10.0
LONG_S = 120.0  # on a machine that is busy with something else


@pytest.fixture
def world(tmp_path: Path) -> Iterator[CellsWorld]:
    world = CellsWorld(tmp_path)
    yield world
    for log in sorted(tmp_path.glob("*.log")):
        print(f"--- {log.name}\n{log.read_text()}")  # noqa: T201 - shown if the test fails
        assert "Traceback" not in log.read_text()


def test_a_cell_that_is_cut_off_goes_on_and_the_upper_page_is_true_again_after_it(
    world: CellsWorld, report: Report
) -> None:
    """Its labels of `every` come later, each of them; its neighbour notices nothing."""
    with Cable(world.ports[UPPER]) as cable:
        world.reroute("hall", cable.port)
        with world.running():
            watcher = Watcher(world.broker(UPPER, "viewer"))
            with watcher.connected():
                wait_until(watcher.is_whole, LONG_S)
                cable.cut()
                begin = time.monotonic()
                camera = world.start_camera(world.config("hall", "camera"), COUNT, RATE)
                wait_until(lambda: watcher.cell("hall").state == "cut off", LONG_S)  # type: ignore[union-attr]
                noticed = time.monotonic() - begin
                assert watcher.cell("yard").state == "connected"  # type: ignore[union-attr]
                assert camera.wait(LONG_S) == 0, world.log("camera")
                assert len(world.published) == COUNT
                inside = Client(world.broker("hall", "viewer"), "devit/v1/home/labels/door")
                with inside:  # the last label is kept there: the cell went on
                    assert inside.get()[0] == "devit/v1/home/labels/door"
                assert not watcher.labels
                cable.heal()
                begin = time.monotonic()
                wait_until(watcher.is_whole, LONG_S)
                whole = time.monotonic() - begin
                wait_until(lambda: world.published <= watcher.labels.keys(), LONG_S)
                healed = time.monotonic() - begin
    report(
        f"{COUNT} images of every: cut off is shown after {noticed:.1f} s, connected again "
        f"{whole:.1f} s and every label {healed:.1f} s after the cut has healed"
    )


@pytest.mark.parametrize("kind", ["killed", "stopped"])
def test_labels_wait_for_an_upper_broker_that_is_away(
    world: CellsWorld, report: Report, kind: str
) -> None:
    with world.running():
        watcher = Watcher(world.broker(UPPER, "viewer"))
        with watcher.connected():
            wait_until(watcher.is_whole, LONG_S)
            world.signal_broker(UPPER, signal.SIGKILL if kind == "killed" else signal.SIGSTOP)
            camera = world.start_camera(world.config("hall", "camera"), COUNT, RATE)
            assert camera.wait(LONG_S) == 0, world.log("camera")
            assert not watcher.labels
            if kind == "killed":  # it has forgotten who looks on, who must be back first
                world.signal_broker("hall", signal.SIGSTOP)
                world.start_broker(UPPER)
                wait_until(watcher.is_connected, LONG_S)
                world.signal_broker("hall", signal.SIGCONT)
            else:
                world.signal_broker(UPPER, signal.SIGCONT)
            begin = time.monotonic()
            wait_until(lambda: world.published <= watcher.labels.keys(), LONG_S)
            wait_until(watcher.is_whole, LONG_S)
    report(f"upper broker {kind}: all {COUNT} labels {time.monotonic() - begin:.1f} s later")


def test_a_camera_moves_from_one_cell_to_the_other(
    world: CellsWorld, tmp_path: Path, report: Report
) -> None:
    """The node that it leaves dies at that moment and comes back: its images are not lost."""
    home = shutil.copytree(world.config("hall", "camera").parent, tmp_path / "camera")
    with world.running():
        watcher = Watcher(world.broker(UPPER, "viewer"))
        with watcher.connected():
            wait_until(watcher.is_whole, LONG_S)
            camera = world.start_camera(home / "devit.toml", MOVE_COUNT, RATE)
            wait_until(lambda: len(watcher.labels) > MOVE_COUNT // 8, LONG_S)
            shutil.copytree(world.config("yard", "camera").parent, home, dirs_exist_ok=True)
            world.kill_node("hall")
            os.kill(camera.pid, signal.SIGHUP)
            wait_until(lambda: "moved to" in world.log("camera"), LONG_S)
            world.start_node("hall")
            assert camera.wait(LONG_S) == 0, world.log("camera")
            assert len(world.published) == MOVE_COUNT
            wait_until(lambda: world.published <= watcher.labels.keys(), LONG_S)
            by_cell = [
                sum(cell in cells for cells in watcher.labels.values()) for cell in ("hall", "yard")
            ]
    assert all(by_cell)
    assert sum(by_cell) == MOVE_COUNT  # each image went to one of the two
    report(
        f"{MOVE_COUNT} images of every: {by_cell[0]} were labelled in hall, {by_cell[1]} in yard"
    )


def test_no_cell_writes_for_another(world: CellsWorld) -> None:
    """With the certificate of a cell's bridge, which its broker's machine has."""
    config = world.broker(UPPER, "viewer")
    with world.running():
        watcher = Watcher(config)
        with watcher.connected():
            wait_until(watcher.is_whole, LONG_S)
            intruder = world.bridge_client("hall")
            with Client(intruder, "#", client_id="labels-hall") as client:
                client.publish("cells/yard/devit/v1/home/labels/door", b"forged", retain=True)
                client.publish("cells/yard/connected", b"0", retain=True)
                client.publish("homeassistant/device/x/config", b"forged", retain=True)
                client.publish("cells/hall/connected", b"0", retain=True)
                client.publish("cells/hall/devit/v1/home/labels/own", b"own")
                wait_until(lambda: watcher.view().refused == 1, LONG_S)  # its own came last
                assert client.inbox.empty()
            assert watcher.is_whole()
            assert not watcher.view().cameras
