"""``devit fleet plan`` against a real hub, and a planned board that cannot serve its part."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devit_iot.errors import DevitError
from devit_iot.planning.plan import Plan, PlannedBoard, SpareBoard
from devit_iot.planning.plan_file import write_plan
from tests.e2e.commands import assert_one_line_error, command
from tests.support.fleets import make_bundle, wait_until
from tests.support.hub_fleet import HubFleet, Judge, Watcher
from tests.support.mosquitto import needs_mosquitto

WAIT_S = 120.0


def board(name: str, part: int) -> PlannedBoard:
    return PlannedBoard(
        name, part, "0/1", "float32", mmacs=1, network_ms=1, decode_ms=1, compute_ms=1,
        total_ms=3, memory_mib=1, room_mib=100, energy_j=0,
    )  # fmt: skip


def plan_file(folder: Path, fingerprint: str, *boards: PlannedBoard) -> Path:
    spares = (SpareBoard("pi-0", "every part has its board"),)
    plan = Plan("bundle", len(boards), 3.0, boards, spares, fingerprint)
    write_plan(plan, folder / "plan.toml")
    return folder / "plan.toml"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[HubFleet]:
    with HubFleet(tmp_path) as fleet:
        yield fleet
        for name in ("hub", "aggregator", "pi-0", "pi-1", "pi-2"):
            log = fleet.log(name)
            print(f"--- {name}\n{log[-4000:]}")  # noqa: T201 - shown if a test fails
            assert "Traceback" not in log


def nodes(fleet: HubFleet) -> int:
    """How many nodes the hub knows; 0 while it is away."""
    try:
        return len(fleet.status().nodes)
    except DevitError:
        return 0


def members(fleet: HubFleet) -> dict[str, int]:
    rollout = fleet.status().rollout
    wanted = rollout.next or rollout.current
    return wanted.members if wanted is not None else {}


@needs_mosquitto
def test_a_plan_is_followed_and_a_board_that_fails_is_replaced(
    fleet: HubFleet, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "bundle", parts=2)
    plan = plan_file(tmp_path, bundle.manifest.fingerprint, board("pi-2", 0), board("pi-1", 1))
    config = ("--config", fleet.config)
    for name in ("broker", "hub", "aggregator", "pi-0", "pi-1"):
        fleet.start(name)
    fleet.start("pi-2", "--isa", "no-such-isa")
    with Watcher(fleet.url).connected() as watcher:
        wait_until(lambda: nodes(fleet) == 3, WAIT_S)
        told = command("devit", "fleet", "plan", plan, *config)
        assert told.stdout == "the plan gives 2 boards their parts\n", told.stderr
        fleet.kill("hub")
        fleet.start("hub")  # it has the plan in its folder
        wait_until(lambda: nodes(fleet) == 3, WAIT_S)
        fleet.client.push(bundle, "")
        with watcher.camera(3.0):
            wait_until(lambda: fleet.status().rollout.next is None, WAIT_S)
        status = fleet.status()
        assert "is good" in status.outcome
        assert members(fleet) == {"pi-0": 0, "pi-1": 1}
        shown = command("devit", "fleet", "status", *config).stdout
        assert f"plan for bundle {bundle.manifest.fingerprint} of 2 parts: 0 on pi-2" in shown
        assert "part 0 failed on pi-2: " in fleet.log("hub")
        assert "; pi-0 takes it" in fleet.log("hub")
        wait_until(lambda: not watcher.missing, WAIT_S)
        Judge(bundle).check([label for each in watcher.labels.values() for label in each])
    forgotten = command("devit", "fleet", "plan", "--forget", *config)
    assert "has no plan" in forgotten.stdout
    assert fleet.status().plan is None


@needs_mosquitto
def test_a_bad_plan_is_one_line_and_changes_nothing(fleet: HubFleet, tmp_path: Path) -> None:
    config = ("--config", fleet.config)
    fleet.start("hub")
    good = plan_file(tmp_path, "", board("pi-2", 0), board("pi-9", 1))
    told = command("devit", "fleet", "plan", good, *config)
    assert "not known yet: pi-2, pi-9" in told.stdout, told.stderr
    for text, said in (
        ("parts = ", "not valid TOML"),
        ("parts = 2\n", "family"),
        (good.read_text().replace("pi-9", "pi-2"), "board 'pi-2' stands there twice"),
        (good.read_text().replace("part = 1", "part = 7"), "a part that is not 0 to 1"),
        (good.read_text().replace("part = 1", "part = 0"), "part 0 are not replicas"),
        (good.read_text().replace('fingerprint = ""', 'fingerprint = "x"'), "fingerprint"),
        (good.read_text().replace("parts = 2", "parts = 300"), "part 2"),
    ):
        bad = tmp_path / "bad.toml"
        bad.write_text(text)
        assert_one_line_error(command("devit", "fleet", "plan", bad, *config), said)
    assert_one_line_error(command("devit", "fleet", "plan", *config), "give the file of a plan")
    assert_one_line_error(
        command("devit", "fleet", "plan", tmp_path / "none.toml", *config), "none.toml"
    )
    planned = fleet.status().plan
    assert planned is not None
    assert planned.members == {"pi-2": 0, "pi-9": 1}
