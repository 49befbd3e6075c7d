"""Boards get the parts that a plan gives them, without a network."""

import pytest

from devit_iot.errors import DevitError
from devit_iot.hub.planned import PlannedParts
from tests.support.conducted import LIMITS, ONE, TWO, Fleet, go_over, whole_fleet


def members(fleet: Fleet, name: str = "current") -> dict[str, int]:
    release = getattr(fleet.rollout, name)
    assert release is not None
    found: dict[str, int] = release.members
    return found


def planned(fleet: Fleet, fingerprint: str = "", **parts: int) -> None:
    fleet.conductor.plan(PlannedParts(2, parts, fingerprint))


def serve(fleet: Fleet, name: str, part: int) -> None:
    """A node says that it serves its part of release 1."""
    fleet.say(name, "ACTIVATED", 1, part=part, serving=1)
    fleet.tick()


def test_the_plan_goes_before_strength_and_names() -> None:
    fleet = Fleet()
    fleet.join("a", "b", cores=1)
    fleet.join("strong", cores=8)
    planned(fleet, b=0, a=1)
    fleet.push(ONE)
    assert members(fleet, "next") == {"b": 0, "a": 1}


def test_a_plan_counts_for_the_bundle_that_it_names() -> None:
    fleet = whole_fleet()
    planned(fleet, TWO.fingerprint, b=0, a=1)
    fleet.tick()
    assert members(fleet) == {"a": 0, "b": 1}
    fleet.push(TWO)
    assert members(fleet, "next") == {"b": 0, "a": 1}
    assert members(fleet) == {"a": 0, "b": 1}
    go_over(fleet, 2, TWO)
    assert members(fleet) == {"b": 0, "a": 1}


@pytest.mark.parametrize("parts", [1, 3])
def test_a_plan_of_another_number_of_parts_does_not_count(parts: int) -> None:
    fleet = whole_fleet()
    fleet.join("c")
    everywhere = {name: part % parts for part, name in enumerate(("c", "b", "a"))}
    fleet.conductor.plan(PlannedParts(parts, everywhere))
    fleet.tick()
    assert members(fleet) == {"a": 0, "b": 1}


def test_a_board_s_own_pin_goes_before_the_plan() -> None:
    fleet = Fleet()
    fleet.join("a", "b", "c")
    fleet.conductor.nodes["a"].pinned = 1
    planned(fleet, a=0, b=1)
    fleet.push(ONE)
    assert members(fleet, "next") == {"a": 1, "b": 1, "c": 0}


def test_boards_of_the_plan_share_a_part() -> None:
    fleet = Fleet()
    fleet.join("a", "b", "c", "d")
    planned(fleet, c=0, d=0, b=1)
    fleet.push(ONE)
    assert members(fleet, "next") == {"c": 0, "d": 0, "b": 1}


def test_a_board_that_is_not_there_is_stood_in_for_until_it_comes() -> None:
    fleet = Fleet()
    fleet.join("a", "b")
    planned(fleet, late=0, b=1)
    number = fleet.push(ONE)
    assert members(fleet, "next") == {"a": 0, "b": 1}
    go_over(fleet, number, ONE)
    fleet.join("late")
    fleet.tick()
    assert members(fleet) == {"a": 0, "b": 1, "late": 0}  # nothing is missing meanwhile
    serve(fleet, "late", 0)
    assert members(fleet) == {"b": 1, "late": 0}


def test_a_planned_board_that_is_gone_loses_its_part_and_gets_it_back() -> None:
    fleet = whole_fleet()
    fleet.join("spare")
    planned(fleet, a=0, b=1)
    fleet.online("b", online=False)
    fleet.tick(LIMITS.takeover_s - 1)
    assert members(fleet) == {"a": 0, "b": 1}
    fleet.tick(2)
    assert members(fleet) == {"a": 0, "spare": 1}
    fleet.online("b")
    fleet.tick(LIMITS.takeover_s - 1)  # it may be away again soon
    assert members(fleet) == {"a": 0, "spare": 1}
    fleet.tick(2)
    assert members(fleet) == {"a": 0, "spare": 1, "b": 1}
    serve(fleet, "b", 1)
    assert members(fleet) == {"a": 0, "b": 1}


def test_a_planned_board_that_fails_gives_its_part_to_a_spare() -> None:
    fleet = Fleet()
    fleet.join("a", "b", "spare")
    planned(fleet, a=0, b=1)
    number = fleet.push(ONE)
    fleet.say("b", "TERMINATED", number, error="wrong")
    fleet.tick()
    fleet.tick()
    assert members(fleet, "next") == {"a": 0, "spare": 1}


def test_a_board_with_a_bundle_of_its_own_takes_no_planned_part() -> None:
    fleet = whole_fleet()
    fleet.conductor.known(fleet.conductor.nodes, "own", fleet.now).see_state(fleet.now, online=True)
    planned(fleet, own=0, b=1)
    fleet.tick()
    assert members(fleet) == {"a": 0, "b": 1}


def test_a_canary_outside_the_plan_is_refused_at_once() -> None:
    fleet = whole_fleet()
    fleet.join("c")
    planned(fleet, TWO.fingerprint, c=0, b=1)
    with pytest.raises(DevitError, match="'a' has no part"):
        fleet.push(TWO, canary="a")
    fleet.push(TWO, canary="c")
    assert fleet.rollout.canary == "c"


def test_without_its_plan_nobody_moves() -> None:
    fleet = whole_fleet()
    planned(fleet, b=0, a=1)
    fleet.tick()
    assert members(fleet) == {"b": 0, "a": 1}
    fleet.conductor.plan(None)
    fleet.tick()
    assert members(fleet) == {"b": 0, "a": 1}


def test_a_killed_hub_goes_on_with_the_plan() -> None:
    fleet = whole_fleet()
    planned(fleet, b=0, a=1)
    fleet.restart()
    fleet.tick()
    assert members(fleet) == {"b": 0, "a": 1}


@pytest.mark.parametrize("parts", [{"a": 0}, {"a": 0, "b": 1, "c": 2}])
def test_a_plan_that_leaves_out_a_part_or_has_one_too_many_is_refused(
    parts: dict[str, int],
) -> None:
    with pytest.raises(DevitError, match="each of its 2 parts"):
        PlannedParts(2, parts).check()
