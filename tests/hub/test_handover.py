"""A part that fails on its board goes to a spare one, without a network."""

import pytest

from devit_iot.protocol.board import BoardProfile
from tests.support.conducted import LIMITS, ONE, TWO, Fleet, whole_fleet

WRONG = "fails the golden check"


def fleet_with(*spares: str) -> Fleet:
    """Nodes ``a`` and ``b`` serve release 1 and are asked for release 2; the spares wait."""
    fleet = whole_fleet()
    fleet.join(*spares)
    fleet.push(TWO)
    return fleet


def fail(fleet: Fleet, name: str) -> None:
    """A node says that it cannot serve release 2."""
    fleet.say(name, "TERMINATED", 2, error=WRONG)
    fleet.tick()


def coming(fleet: Fleet) -> dict[str, int]:
    """The members of the release that is under way."""
    assert fleet.rollout.next is not None
    return fleet.rollout.next.members


def finish(fleet: Fleet, *names: str) -> None:
    """The nodes go all the way with release 2."""
    for state in ("INSTALLED", "ACTIVATED"):
        for name in names:
            fleet.say(name, state, 2)
        fleet.tick()
    for _ in range(LIMITS.good_labels):
        fleet.label(TWO.fingerprint)
    fleet.tick()


def test_a_spare_takes_the_part_that_failed() -> None:
    fleet = fleet_with("spare")
    fail(fleet, "b")
    assert coming(fleet) == {"a": 0, "spare": 1}
    assert fleet.outcome == (f"release 2 is under way: part 1 failed on b: {WRONG}; spare takes it")
    assert fleet.rollout.current is not None
    assert fleet.rollout.current.members == {"a": 0, "b": 1}  # the old bundle goes on there
    finish(fleet, "a", "spare")
    assert fleet.outcome == "release 2 is good"
    assert fleet.rollout.current.members == {"a": 0, "spare": 1}


def test_one_spare_after_the_other_is_tried_once_and_then_it_ends() -> None:
    fleet = fleet_with("s1", "s2")
    fail(fleet, "b")
    fleet.say("b", "CREATED", 0)  # what a node says that the release does not name any more
    fleet.tick()
    fail(fleet, "s1")
    assert coming(fleet) == {"a": 0, "s2": 1}
    fleet.say("s1", "CREATED", 0)
    fail(fleet, "s2")
    assert fleet.rollout.next is None
    assert fleet.outcome == f"release 2 was ended: part 1 failed on s2: {WRONG}"
    assert fleet.rollout.current is not None
    assert fleet.rollout.current.members == {"a": 0, "b": 1}


def test_a_board_that_failed_may_take_the_next_release() -> None:
    fleet = fleet_with()
    fail(fleet, "b")
    assert fleet.rollout.next is None
    assert fleet.push(TWO) == 3
    assert coming(fleet) == {"a": 0, "b": 1}


@pytest.mark.parametrize("why", ["TERMINATED", "INSTALLING", "gone"])
def test_a_spare_takes_over_from_one_that_fails_hangs_or_is_away(why: str) -> None:
    fleet = fleet_with("spare")
    fleet.say("a", "INSTALLED", 2)
    if why == "TERMINATED":
        fail(fleet, "b")
    elif why == "INSTALLING":
        fleet.say("b", "INSTALLING", 2)
        fleet.tick(LIMITS.install_s + 1)
    else:
        fleet.online("b", online=False)
        fleet.tick(LIMITS.offer_s + 1)
    assert coming(fleet) == {"a": 0, "spare": 1}
    fleet.tick(LIMITS.offer_s - 1)  # its own time begins when it is given the part
    assert coming(fleet) == {"a": 0, "spare": 1}
    fleet.tick(2)
    assert "part 1 on spare: no progress in state CREATED" in fleet.outcome


def test_a_spare_takes_over_during_the_trial() -> None:
    """For instance where the process ended three times with the new bundle."""
    fleet = fleet_with("spare")
    for state in ("INSTALLED", "ACTIVATED"):
        for name in ("a", "b"):
            fleet.say(name, state, 2)
        fleet.tick()
    assert fleet.rollout.activate
    fail(fleet, "b")
    assert fleet.rollout.activate
    finish(fleet, "a", "spare")
    assert fleet.outcome == "release 2 is good"


def test_nobody_stands_in_for_a_canary() -> None:
    fleet = whole_fleet()
    fleet.join("spare")
    fleet.push(TWO, canary="b")
    fail(fleet, "b")
    assert fleet.rollout.next is None
    assert f"part 1 failed on b: {WRONG}" in fleet.outcome


def test_a_canary_that_shares_its_part_ends_the_release_too() -> None:
    fleet = whole_fleet()
    fleet.join("a2")
    fleet.conductor.nodes["a2"].pinned = 0
    fleet.tick()
    fleet.push(TWO, canary="a")
    assert coming(fleet) == {"a": 0, "a2": 0, "b": 1}
    fail(fleet, "a")
    assert f"part 0 failed on a: {WRONG}" in fleet.outcome


def test_a_spare_without_the_memory_is_not_asked() -> None:
    fleet = fleet_with("small")
    fleet.conductor._needs = lambda _release: (100, 200)
    board = BoardProfile("small", cores=4, memory_mib=150, overhead_mib=50)
    fleet.conductor.nodes["small"].see_state(fleet.now, online=True, board=board)
    fail(fleet, "b")
    assert fleet.rollout.next is None


def test_a_pinned_board_that_fails_is_stood_in_for() -> None:
    fleet = whole_fleet()
    fleet.join("spare")
    fleet.conductor.nodes["b"].pinned = 1
    fleet.push(TWO)
    fail(fleet, "b")
    assert coming(fleet) == {"a": 0, "b": 1, "spare": 1}
    finish(fleet, "a", "spare")
    assert fleet.outcome == "release 2 is good"


def test_a_bundle_that_fails_on_several_parts_ends_although_there_are_spares() -> None:
    fleet = fleet_with("s1", "s2", "s3")
    fail(fleet, "a")
    assert fleet.rollout.next is not None
    fail(fleet, "b")
    assert fleet.rollout.next is None
    assert "2 of 2 nodes failed" in fleet.outcome


@pytest.mark.parametrize(("replicas", "ends"), [(2, True), (4, False)])
def test_boards_that_share_a_part_are_each_counted(replicas: int, *, ends: bool) -> None:
    """One of three or of five nodes: the others of its part would serve the release."""
    fleet = whole_fleet()
    names = [f"a{number}" for number in range(1, replicas)]
    fleet.join(*names)
    for name in names:
        fleet.conductor.nodes[name].pinned = 0
    fleet.push(TWO)
    fail(fleet, "a1")
    assert (fleet.rollout.next is None) is ends


def test_a_killed_hub_remembers_who_failed() -> None:
    fleet = fleet_with("s1", "s2")
    fail(fleet, "b")
    fleet.say("b", "CREATED", 0)
    fleet.restart()
    fleet.tick()
    assert coming(fleet) == {"a": 0, "s1": 1}
    fail(fleet, "s1")
    assert coming(fleet) == {"a": 0, "s2": 1}


def test_the_first_release_of_a_fleet_is_handed_on_too() -> None:
    fleet = Fleet()
    fleet.join("a", "b", "c")
    number = fleet.push(ONE)
    assert coming(fleet) == {"a": 0, "b": 1}
    fleet.say("a", "TERMINATED", number, error="No space left on device")
    fleet.tick()
    assert coming(fleet) == {"c": 0, "b": 1}
