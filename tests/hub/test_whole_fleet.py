"""Four bare nodes, an aggregator and a hub as processes: pushes, bad pushes, power cuts."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from devit_iot.bundle.reading import Bundle
from devit_iot.errors import DevitError
from devit_iot.evaluation.local import LocalFleet
from tests.e2e.commands import assert_one_line_error, command
from tests.golden.make import LABEL
from tests.support.fleets import make_bundle, wait_until
from tests.support.hub_fleet import NODES, WAIT_S, HubFleet, Judge, Watcher, image_of, wait_serving
from tests.support.releases import with_wrong_golden

pytestmark = pytest.mark.skipif(
    shutil.which("mosquitto") is None, reason="mosquitto is not on PATH: install it to test"
)
NAMES = ("aggregator", "hub", *NODES)


class World(NamedTuple):
    """A fleet that serves some release, and who watches it."""

    fleet: HubFleet
    watcher: Watcher
    folder: Path

    def bundle(self, seed: int) -> Bundle:
        """Another bundle of four parts."""
        path = self.folder / f"bundle-{seed}"
        return Bundle(path) if path.exists() else make_bundle(path, parts=4, seed=seed)

    @property
    def current(self) -> str:
        """Fingerprint of what is served and good."""
        release = self.fleet.status().rollout.current
        return release.fingerprint if release is not None else ""

    def wait_good(self) -> str:
        """Show images until nothing is under way; the outcome."""

        with self.watcher.camera(3.0):
            wait_until(lambda: self.fleet.status().rollout.next is None, 2 * WAIT_S)
        return self.fleet.status().outcome

    def check_labels(self, *seeds: int) -> None:
        """Every image has its label, and none rests on two bundles."""
        wait_until(lambda: not self.watcher.missing, WAIT_S)
        labels = [label for labels in self.watcher.labels.values() for label in labels]
        Judge(*map(self.bundle, seeds)).check(labels)
        self.watcher.sent.clear()
        self.watcher.labels.clear()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Started in the order that is hardest: nodes first, and nothing pushed yet."""
    folder = tmp_path_factory.mktemp("fleet")
    with HubFleet(folder) as fleet:
        for name in ("broker", *reversed(NODES), "aggregator", "hub"):
            fleet.start(name)
        with Watcher(fleet.url).connected() as watcher:
            yield World(fleet, watcher, folder)
        logs = {name: fleet.log(name) for name in NAMES}
        for name, log in logs.items():
            print(f"--- {name}\n{log[-5000:]}")  # noqa: T201 - shown if a test fails
        assert not any("Traceback" in log for log in logs.values())


@pytest.fixture
def whole(world: World) -> World:
    """Serves the bundle of seed 0, for good."""
    wanted = world.bundle(0).manifest.fingerprint
    wait_until(lambda: _reached(world.fleet), WAIT_S)
    if world.current != wanted:
        world.fleet.client.push(world.bundle(0), "")
        world.wait_good()
    assert world.current == wanted
    world.check_labels(*range(6))
    return world


def _reached(fleet: HubFleet) -> bool:
    try:
        return all(name in fleet.status().nodes for name in NODES)
    except DevitError:
        return False


def test_bare_nodes_become_a_whole_fleet(whole: World) -> None:
    parts = sorted(whole.watcher.updates[name].part or 0 for name in NODES)
    assert parts == [0, 1, 2, 3]
    order = ["DOWNLOADING", "DOWNLOADED", "INSTALLING", "INSTALLED", "ACTIVATING", "ACTIVATED"]
    for name in NODES:
        states = [state for release, state in whole.watcher.states[name] if release == 1]
        assert [state for state in order if state in states] == order


def test_going_over_loses_no_image_and_mixes_no_bundles(whole: World) -> None:
    client = whole.fleet.client
    with whole.watcher.camera(10.0):
        client.push(whole.bundle(1), "")
        assert "is good" in whole.wait_good()
        assert whole.current == whole.bundle(1).manifest.fingerprint
        client.tell("rollback")
        assert "is good" in whole.wait_good()
    assert whole.current == whole.bundle(0).manifest.fingerprint
    fused = {label.fingerprint for labels in whole.watcher.labels.values() for label in labels}
    assert fused == {whole.bundle(seed).manifest.fingerprint for seed in (0, 1)}
    whole.check_labels(0, 1)


def test_one_bad_part_of_four_leaves_everybody_where_it_was(whole: World) -> None:
    path = whole.folder / "bad"
    bad = with_wrong_golden(make_bundle(path, parts=4, seed=77), 2)
    before = whole.current
    whole.fleet.client.push(bad, "")
    with pytest.raises(DevitError, match="under way"):
        whole.fleet.client.push(whole.bundle(1), "")
    outcome = whole.wait_good()
    assert "part 2 failed" in outcome
    assert "golden check" in outcome
    assert whole.current == before
    assert not any(rollout.activate for rollout in whole.watcher.rollouts[-3:])
    whole.check_labels(0)


def test_the_commands_say_what_happens(whole: World) -> None:
    config = ("--config", whole.fleet.config)
    pushed = command("devit", "fleet", "push", whole.bundle(1).path, "--canary", "pi-2", *config)
    assert pushed.returncode == 0, pushed.stderr
    assert "serves on trial" in pushed.stdout
    assert "pi-2, part" in pushed.stdout
    told = command("devit", "fleet", "rollback", *config)
    assert told.returncode == 0, told.stderr
    assert "is taken back" in told.stdout
    shown = command("devit", "fleet", "status", *config).stdout
    assert "serves: release" in shown
    assert all(f"{name}, part" in shown for name in NODES)
    assert "paused" in command("devit", "fleet", "pause", *config).stdout
    assert "goes on" in command("devit", "fleet", "pause", "--resume", *config).stdout
    bad = with_wrong_golden(make_bundle(whole.folder / "bad-2", parts=4, seed=78), 1)
    assert_one_line_error(
        command("devit", "fleet", "push", bad.path, *config), "part 1 failed", "golden check"
    )
    whole.check_labels(0, 1)


def test_a_power_cut_while_downloading_and_on_trial(whole: World) -> None:
    fleet, watcher = whole.fleet, whole.watcher
    fleet.client.tell("pause")
    number = fleet.client.push(whole.bundle(2), "").number
    wait_until(lambda: (number, "DOWNLOADING") in watcher.states["pi-0"], WAIT_S)
    fleet.kill("pi-0")
    fleet.start("pi-0")
    fleet.client.tell("resume")
    wait_serving(watcher, number)  # no image comes, so it is on trial
    assert fleet.store("pi-0")["trial"]
    fleet.kill("pi-0")
    fleet.start("pi-0")
    wait_until(lambda: "pi-0" in _online(fleet), WAIT_S)
    assert "is good" in whole.wait_good()
    wait_until(lambda: fleet.store("pi-0")["trial"] is None, WAIT_S)
    whole.check_labels(0, 2)


def test_a_power_cut_when_installed(whole: World) -> None:
    fleet, watcher = whole.fleet, whole.watcher
    hung = fleet._running["pi-3"]
    hung.send_signal(signal.SIGSTOP)
    number = fleet.client.push(whole.bundle(3), "").number
    wait_until(lambda: watcher.updates["pi-0"].release == number, WAIT_S)
    wait_until(lambda: watcher.updates["pi-0"].state == "INSTALLED", WAIT_S)
    fleet.kill("pi-0")
    fleet.start("pi-0")
    hung.send_signal(signal.SIGCONT)
    wait_serving(watcher, number)
    assert "is good" in whole.wait_good()
    whole.check_labels(0, 3)


def test_the_hub_is_killed_while_the_fleet_goes_over(whole: World) -> None:
    fleet, watcher = whole.fleet, whole.watcher
    number = fleet.client.push(whole.bundle(4), "").number
    wait_until(lambda: watcher.rollouts[-1].activate, WAIT_S)
    fleet.kill("hub")
    wait_serving(watcher, number)  # the message is retained
    fleet.start("hub")
    wait_until(lambda: _reached(fleet), WAIT_S)
    assert "is good" in whole.wait_good()
    assert whole.current == whole.bundle(4).manifest.fingerprint
    whole.check_labels(0, 4)


def test_a_node_that_ends_again_and_again_takes_everybody_back(whole: World) -> None:
    fleet, watcher = whole.fleet, whole.watcher
    before = whole.current
    number = fleet.client.push(whole.bundle(5), "").number
    wait_serving(watcher, number)
    for _ in range(4):
        fleet.kill("pi-1")
        count = fleet.store("pi-1")["starts"]
        fleet.start("pi-1")
        wait_until(lambda count=count: fleet.store("pi-1")["starts"] != count, WAIT_S)  # type: ignore[misc]
    outcome = whole.wait_good()
    assert "pi-1" in outcome
    assert "3 times" in outcome
    assert whole.current == before
    wait_until(lambda: all(_serves(fleet, name, before) for name in NODES), WAIT_S)
    whole.check_labels(0, 5)


def _online(fleet: HubFleet) -> set[str]:
    return {name for name, view in fleet.status().nodes.items() if view.online}


def _serves(fleet: HubFleet, name: str, fingerprint: str) -> bool:
    current = fleet.status().rollout.current
    view = fleet.node(name)
    return (
        current is not None
        and current.fingerprint == fingerprint
        and view is not None
        and view.update is not None
        and view.update.serving == current.number
    )


def test_a_label_of_two_bundles_would_be_found(tmp_path: Path) -> None:
    one, two = (make_bundle(tmp_path / str(seed), parts=4, seed=seed) for seed in (0, 1))
    fleets = [LocalFleet(bundle, threads=1) for bundle in (one, two)]
    request_id = f"{5:032x}"
    said = [fleet.features(image_of(request_id)) for fleet in fleets]
    label = msgspec.structs.replace(
        LABEL,
        request_id=request_id,
        parts_used=(0, 1, 2, 3),
        degraded=False,
        fingerprint=two.manifest.fingerprint,
    )
    for mixed in (0, 1):
        values = {part: said[mixed if part == 0 else 1][part].values for part in range(4)}
        best = fleets[1].fusion.rank(fleets[1].fusion.logits(values))[0]
        checked = msgspec.structs.replace(label, confidence=best.confidence)
        if mixed == 1:
            Judge(one, two).check([checked])
        else:
            with pytest.raises(AssertionError):
                Judge(one, two).check([checked])
