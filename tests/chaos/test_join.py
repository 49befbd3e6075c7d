"""Bare boards in hosts of their own paste the line of `devit fleet add`, and are a fleet.

Each board installs the wheels that the hub serves into a fresh virtual environment.
"""

import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.chaos.conftest import SEED, Report
from tests.chaos.network import Network, NoNamespacesError
from tests.support.fleets import image_file, make_bundle, wait_until
from tests.support.join_fleet import JoinFleet
from tests.support.mosquitto import MOSQUITTO

BOARDS = tuple(f"pi-{number}" for number in range(4))
SPARE = "pi-4"
SECOND = "second"  # a board that is given the line of another one
LIMITS = "takeover_s = 3\ngood_labels = 1\noffer_s = 900\ninstall_s = 300\nactivate_s = 300"
WAIT_S = 900.0  # five installations of numpy on a machine that does other work too


class World(NamedTuple):
    """A fleet, and who decides what comes first."""

    fleet: JoinFleet
    rng: random.Random

    def shuffled(self) -> list[str]:
        """The boards in a random order."""
        return self.rng.sample(BOARDS, len(BOARDS))

    def show_until(self, condition: Callable[[], bool], folder: Path) -> None:
        """Show images until a condition holds."""
        (folder / "image.png").write_bytes(image_file(1))
        camera = self.fleet.fleet / "clients/camera/devit.toml"

        def shown() -> bool:
            self.fleet.owner(
                *("camera", folder / "image.png", "--config", camera),
                *("--topic", "cameras/desk/image", "--count", "2", "--repeat"),
            )
            return condition()

        wait_until(shown, WAIT_S)

    def is_good(self) -> bool:
        """Whether the last release has proven itself."""
        now = self.fleet.status
        return now is not None and "is good" in now.outcome

    def whole_labels(self) -> int:
        """How many labels came from all parts."""
        return self.fleet.log("aggregator").count(f"parts {len(BOARDS)}/{len(BOARDS)}")

    def whole(self) -> dict[int, str]:
        """Part -> board when all parts are served, else nothing."""
        serving = self.fleet.serving
        return serving if len(serving) == len(BOARDS) else {}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not on PATH: install it to test against it")
    folder = tmp_path_factory.mktemp("join")
    with Network(SEED) as network:
        try:
            addresses = {name: network.add(name) for name in ("hub", *BOARDS, SPARE, SECOND)}
        except NoNamespacesError as error:
            pytest.skip(f"no hosts to be had: {error}")
        hosts = {name: network.command(name) for name in addresses}
        with JoinFleet(folder, host=addresses["hub"], hosts=hosts, limits=LIMITS) as fleet:
            yield World(fleet, random.Random(SEED))
        logs = {name: fleet.log(name) for name in ("hub", "aggregator", *BOARDS, SPARE)}
        for name, log in logs.items():
            print(f"--- {name}\n{log[-3000:]}")  # noqa: T201 - shown if a test fails
        assert not any("Traceback" in log for log in logs.values())


def test_four_boards_paste_their_lines(world: World, report: Report, tmp_path: Path) -> None:
    fleet = world.fleet
    fleet.start("broker")
    fleet.start("hub")
    fleet.add_wheels(tmp_path / "wheels")
    lines = {name: fleet.add(name) for name in BOARDS}
    fleet.end("broker")  # it gets the new access list
    fleet.start("broker")
    fleet.start("aggregator")
    fleet.push(make_bundle(tmp_path / "bundle", parts=len(BOARDS)).path)
    begin = time.monotonic()
    for name in world.shuffled():
        fleet.paste(name, lines[name])
    wait_until(lambda: all("no part yet" in fleet.log(name) for name in BOARDS), WAIT_S)
    joined = time.monotonic()
    wait_until(lambda: world.whole() != {}, WAIT_S)
    assert sorted(world.whole().values()) == sorted(BOARDS)
    report(
        f"four boards had installed and joined after {joined - begin:.1f} s, and were a fleet "
        f"{time.monotonic() - joined:.1f} s later"
    )
    world.show_until(world.is_good, tmp_path)

    second = fleet.paste(SECOND, lines["pi-2"].replace(str(fleet.board("pi-2")), str(tmp_path)))
    assert second.wait(WAIT_S) == 1
    last = fleet.log(SECOND).strip().splitlines()[-1]
    assert last.startswith("Error: another board has joined as 'pi-2'")
    assert "a board has joined as 'pi-2' already" in fleet.add_fails("pi-2")


def test_bare_boards_in_a_random_order_are_a_fleet(world: World, report: Report) -> None:
    fleet = world.fleet
    for name in BOARDS:
        fleet.end(name)
        shutil.rmtree(fleet.board(name) / "store")
    wait_until(lambda: not fleet.serving and fleet.status is not None, WAIT_S)
    begin = time.monotonic()
    for name in world.shuffled():
        fleet.start_again(name)
    wait_until(lambda: world.whole() != {}, WAIT_S)
    report(f"four bare boards were a fleet after {time.monotonic() - begin:.1f} s")


def test_the_same_four_join_again_after_the_hub_was_killed(world: World, report: Report) -> None:
    fleet = world.fleet
    before = world.whole()
    fleet.end("hub", signal.SIGKILL)
    for name in BOARDS:
        fleet.end(name)
    for name in (*world.shuffled()[:2], "hub", *world.shuffled()):
        if name == "hub":
            fleet.start(name)
        elif not fleet.runs(name):
            fleet.start_again(name)
    begin = time.monotonic()
    wait_until(lambda: world.whole() != {}, WAIT_S)
    assert world.whole() == before
    report(f"four boards were the same fleet {time.monotonic() - begin:.1f} s after the last one")


def test_a_board_that_is_gone_for_good_is_replaced(
    world: World, report: Report, tmp_path: Path
) -> None:
    fleet = world.fleet
    before = world.whole()
    lost = world.rng.choice(sorted(before))
    line = fleet.add(SPARE)
    fleet.end("broker")
    fleet.start("broker")
    wait_until(lambda: world.whole() == before, WAIT_S)
    fleet.end(before[lost], signal.SIGKILL)
    fleet.paste(SPARE, line)
    wait_until(lambda: "no part yet" in fleet.log(SPARE), WAIT_S)
    begin = time.monotonic()
    wait_until(lambda: world.whole() != {}, WAIT_S)
    assert world.whole() == {**before, lost: SPARE}
    report(f"a new board served the lost part {time.monotonic() - begin:.1f} s after it had joined")
    labelled = world.whole_labels()
    world.show_until(lambda: world.whole_labels() > labelled, tmp_path)
