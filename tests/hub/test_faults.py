"""What can go wrong on one board of a fleet while a release comes, with real processes."""

import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from devit_iot.errors import DevitError
from devit_iot.protocol.board import BoardProfile
from devit_iot.protocol.release import UpdateStatus
from devit_iot.protocol.status import NodeStatus
from tests.e2e.commands import assert_one_line_error, command
from tests.support.fleets import make_bundle, wait_until
from tests.support.hub_fleet import NODES, TOPICS, HubFleet, Judge, Watcher, wait_serving
from tests.support.mosquitto import needs_mosquitto

pytestmark = needs_mosquitto

WAIT_S = 120.0
LIMITS = "offer_s = 6\ndownload_s = 20\ninstall_s = 6\nactivate_s = 6"
ROOM_KIB = 40
"""Of a store: enough for one of the bundles and what is written beside it, not for two."""


class Outside(Watcher):
    """Says what a stranger says."""

    def say(self, topic: str, payload: bytes) -> None:
        """Publish a retained message."""
        self._transport.publish(topic, payload, qos=1, retain=True)


def small_disk(folder: Path) -> tuple[str, ...]:
    """Runs a command with a store on a file system that is soon full."""
    script = f'mount -t tmpfs -o size={ROOM_KIB}k tmpfs "$0" && exec "$@"'
    return ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, str(folder))


def has_namespaces() -> bool:
    """Whether this machine lets us mount a file system for one process."""
    if shutil.which("unshare") is None:
        return False
    probe = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "x", "/mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


class World:
    """A fleet that serves bundle 0, and who watches it."""

    def __init__(self, fleet: HubFleet, watcher: Outside, folder: Path) -> None:
        self.fleet = fleet
        self.watcher = watcher
        self.bundles = [make_bundle(folder / f"b{n}", parts=4, seed=n) for n in range(3)]

    def outcome(self) -> str:
        """Show images until nothing is under way; how it ended."""
        with self.watcher.camera(3.0):
            wait_until(lambda: self.fleet.status().rollout.next is None, WAIT_S)
        return self.fleet.status().outcome

    def check_old_serves(self, number: int) -> None:
        """All serve that release, every image has its label, none is of two bundles."""
        wait_serving(self.watcher, number)
        for _ in range(5):
            self.watcher.show()
        wait_until(lambda: not self.watcher.missing, WAIT_S)
        labels = [label for labels in self.watcher.labels.values() for label in labels]
        Judge(*self.bundles).check(labels)


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """``request.param`` is put before the command of pi-3, or is its further options."""
    param = getattr(request, "param", "")
    wrappers = {}
    if param == "small disk":
        if not has_namespaces():
            pytest.skip("no user namespaces here: a small disk cannot be mounted")
        store = tmp_path / "stores" / "pi-3"
        store.mkdir(parents=True)
        wrappers = {"pi-3": small_disk(store)}
    with HubFleet(tmp_path, LIMITS, wrappers) as fleet:
        for name in ("broker", "hub", "aggregator", *NODES[:3]):
            fleet.start(name)
        fleet.start("pi-3", "--part", "3")
        with Outside(fleet.url).connected() as watcher:
            assert isinstance(watcher, Outside)
            world = World(fleet, watcher, tmp_path)
            wait_until(lambda: set(NODES) <= set(fleet.status().nodes), WAIT_S)
            fleet.client.push(world.bundles[0], "")
            assert "is good" in world.outcome()
            yield world
        for name in ("hub", "aggregator", *NODES):
            log = fleet.log(name)
            print(f"--- {name}\n{log[-4000:]}")  # noqa: T201 - shown if a test fails
            assert "Traceback" not in log


@pytest.mark.parametrize("world", ["small disk"], indirect=True)
def test_a_full_disk_on_one_board_leaves_everybody_where_it_was(world: World) -> None:
    for bundle in world.bundles[1:]:  # one after the other, until no more fit
        world.fleet.client.push(bundle, "")
        outcome = world.outcome()
        if "is good" not in outcome:
            break
    assert "pi-3" in outcome
    assert "No space left" in outcome
    current = world.fleet.status().rollout.current
    assert current is not None
    world.check_old_serves(current.number)


def test_an_engine_that_a_board_does_not_have_ends_the_release(world: World) -> None:
    """As on a node of another architecture than its options say."""
    fleet = world.fleet
    fleet.terminate("pi-2")
    fleet.start("pi-2", "--isa", "no-such-isa")
    wait_until(lambda: "no-such-isa" in world.watcher.updates["pi-2"].error, WAIT_S)
    fleet.client.push(world.bundles[1], "")
    assert "pi-2" in world.outcome()
    fleet.terminate("pi-2")
    fleet.start("pi-2", "--isa", "scalar")  # slower, and as right as the others
    wait_until(lambda: fleet.status().nodes["pi-2"].online, WAIT_S)
    fleet.client.push(world.bundles[1], "")
    assert "is good" in world.outcome()
    world.check_old_serves(3)


@pytest.mark.parametrize("at", ["DOWNLOADED", "INSTALLING", "INSTALLED"])
def test_a_board_that_hangs_on_its_way_is_named(world: World, at: str) -> None:
    fleet, watcher = world.fleet, world.watcher
    hung = fleet._running["pi-1"]
    states = {"DOWNLOADED", "INSTALLING", "INSTALLED"}
    order = ["DOWNLOADED", "INSTALLING", "INSTALLED"]
    wanted = set(order[order.index(at) :])
    number = fleet.client.push(world.bundles[1], "").number

    def is_there() -> bool:
        said = {state for release, state in watcher.states["pi-1"] if release == number}
        return bool(said & wanted)

    wait_until(is_there, WAIT_S)
    hung.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: fleet.status().rollout.next is None, WAIT_S)
        outcome = fleet.status().outcome
        assert "pi-1" in outcome
        assert any(state in outcome for state in states | {"ACTIVATING"})
    finally:
        hung.send_signal(signal.SIGCONT)
    world.check_old_serves(1)


def test_of_two_pushes_at_once_one_goes_on(world: World) -> None:
    results = []

    def push(number: int) -> None:
        path = world.bundles[number].path
        config = ("--config", world.fleet.config)
        results.append(command("devit", "fleet", "push", path, "--no-wait", *config))

    threads = [threading.Thread(target=push, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lost = [result for result in results if result.returncode]
    assert len(lost) == 1
    assert_one_line_error(lost[0], "release 2 is under way")
    assert "is good" in world.outcome()
    world.check_old_serves(2)


def test_an_unknown_board_is_a_spare_whatever_it_says(world: World) -> None:
    watcher = world.watcher
    board = BoardProfile("stranger", cores=10**6, fma_gflops=1e9, memory_mib=10**9)
    status = NodeStatus(
        state="online", fingerprint="", parts=0, node="stranger", part=0, board=board
    )
    watcher.say(TOPICS.node_status("stranger"), status.encode())
    for update in (
        UpdateStatus(release=0, fingerprint="", state="CREATED"),
        UpdateStatus(release=2**62, fingerprint="", state="ACTIVATED", serving=2**62),
        UpdateStatus(release=2, fingerprint="", state="TERMINATED", error="x" * 900),
    ):
        watcher.say(TOPICS.node_update("stranger"), update.encode())
    watcher.say(TOPICS.node_update("str\u00e4nger"), b"{}")
    watcher.say(TOPICS.node_status("stranger-2"), b"\xff")
    wait_until(lambda: "stranger" in world.fleet.status().nodes, WAIT_S)
    world.fleet.client.push(world.bundles[1], "")
    assert "is good" in world.outcome()
    current = world.fleet.status().rollout.current
    assert current is not None
    assert set(current.members) == set(NODES)
    assert current.number < 10  # not what the stranger said
    world.check_old_serves(current.number)


def test_a_hub_without_room_takes_no_upload(world: World, tmp_path: Path) -> None:
    fleet = world.fleet
    if not has_namespaces():
        pytest.skip("no user namespaces here: a small disk cannot be mounted")
    fleet.terminate("hub")
    files = tmp_path / "hub/files"
    shutil.rmtree(files)
    files.mkdir()
    fleet._wrappers = {"hub": small_disk(files)}
    fleet.start("hub")

    def reached() -> bool:
        try:
            return bool(fleet.status().nodes)
        except DevitError:
            return False

    wait_until(reached, WAIT_S)
    assert_one_line_error(
        command(
            *("devit", "fleet", "push", world.bundles[1].path, "--no-wait"),
            *("--config", fleet.config),
        ),
        "cannot keep the file",
        "No space left",
    )
    world.check_old_serves(1)
