"""The way of a fleet from one release to the next, without a network."""

import pytest

from devit_iot.errors import DevitError
from devit_iot.protocol.board import BoardProfile
from devit_iot.protocol.release import UpdateState
from tests.support.conducted import LIMITS, ONE, TWO, Fleet, go_over, whole_fleet


def test_a_release_goes_through_both_phases() -> None:
    fleet = Fleet()
    fleet.join("b", "a")
    number = fleet.push(ONE)
    assert number == 1
    assert fleet.rollout.next is not None
    assert fleet.rollout.next.members == {"a": 0, "b": 1}
    fleet.say("a", "INSTALLED", 1)
    fleet.tick()
    assert not fleet.rollout.activate  # part 1 is missing
    fleet.say("b", "INSTALLED", 1)
    fleet.tick()
    assert fleet.rollout.activate
    for name in ("a", "b"):
        fleet.say(name, "ACTIVATED", 1)
    fleet.label(ONE.fingerprint)
    fleet.label(ONE.fingerprint, degraded=True)
    fleet.label(TWO.fingerprint)
    fleet.tick()
    assert fleet.rollout.current is None  # one good label is not enough
    fleet.label(ONE.fingerprint)
    fleet.tick()
    assert fleet.rollout.current is not None
    assert (fleet.rollout.current.number, fleet.rollout.next) == (1, None)
    assert not fleet.rollout.activate


def test_the_strongest_node_is_given_a_part_first() -> None:
    fleet = Fleet()
    fleet.join("weak", cores=1)
    fleet.join("strong", cores=8)
    fleet.push(ONE)
    assert fleet.rollout.next is not None
    assert fleet.rollout.next.members == {"strong": 0, "weak": 1}


@pytest.mark.parametrize("state", ["CREATED", "DOWNLOADING", "INSTALLING"])
def test_an_aggregator_is_waited_for(state: UpdateState) -> None:
    fleet = Fleet()
    fleet.join("a", "b")
    fleet.push(ONE)
    fleet.aggregator(state, 1)
    for name in ("a", "b"):
        fleet.say(name, "INSTALLED", 1)
    fleet.tick()
    assert not fleet.rollout.activate
    fleet.aggregator("INSTALLED", 1)
    fleet.tick()
    assert fleet.rollout.activate


def test_an_aggregator_that_was_just_killed_is_waited_for() -> None:
    """Features of the new bundle may wait for it, which it would not know."""
    fleet = Fleet()
    fleet.join("a", "b")
    fleet.aggregator("CREATED", 0)
    fleet.push(ONE)
    fleet.conductor.aggregators["0"].see_state(fleet.now, online=False)
    for name in ("a", "b"):
        fleet.say(name, "INSTALLED", 1)
    fleet.tick(LIMITS.offer_s - 1)
    assert not fleet.rollout.activate
    fleet.tick(2)  # it does not come back
    assert fleet.rollout.activate


def test_an_aggregator_with_a_bundle_of_its_own_ends_the_release() -> None:
    """It would refuse every feature of the new bundle."""
    fleet = Fleet()
    fleet.join("a", "b")
    fleet.aggregator(None)
    fleet.push(ONE)
    for name in ("a", "b"):
        fleet.say(name, "INSTALLED", 1)
    fleet.tick(LIMITS.offer_s + 1)
    assert fleet.rollout.next is None
    assert "--store" in fleet.outcome


def test_a_part_that_fails_everywhere_ends_the_release() -> None:
    fleet = whole_fleet()
    fleet.push(TWO)
    fleet.say("a", "INSTALLED", 2)
    fleet.say("b", "TERMINATED", 2, error="fails the golden check")
    fleet.tick()
    assert fleet.rollout.next is None
    assert fleet.rollout.current is not None
    assert fleet.rollout.current.number == 1
    assert "fails the golden check" in fleet.outcome
    assert "b" in fleet.outcome


def test_a_failure_after_going_over_takes_everybody_back() -> None:
    """For instance a node that ended three times in the trial."""
    fleet = whole_fleet()
    fleet.push(TWO)
    for state in ("INSTALLED", "ACTIVATED"):
        for name in ("a", "b"):
            fleet.say(name, state, 2)
        fleet.tick()
    assert fleet.rollout.activate
    fleet.say("a", "TERMINATED", 2, error="ended")
    fleet.tick()
    assert (fleet.rollout.next, fleet.rollout.activate) == (None, False)


@pytest.mark.parametrize(
    ("state", "limit_s"),
    [("CREATED", 10), ("DOWNLOADING", 20), ("DOWNLOADED", 30), ("INSTALLING", 30)],
)
def test_every_state_has_an_end(state: UpdateState, limit_s: float) -> None:
    fleet = whole_fleet()
    fleet.push(TWO)
    fleet.say("a", "INSTALLED", 2)
    fleet.say("b", state, 2)
    fleet.tick(limit_s - 1)
    assert fleet.rollout.next is not None
    fleet.tick(2)
    assert fleet.rollout.next is None
    assert state in fleet.outcome


def test_who_does_not_go_over_in_time_ends_the_release() -> None:
    fleet = whole_fleet()
    fleet.push(TWO)
    for name in ("a", "b"):
        fleet.say(name, "INSTALLED", 2)
    fleet.tick()
    fleet.say("a", "ACTIVATED", 2)
    fleet.tick(LIMITS.activate_s + 1)
    assert (fleet.rollout.next, fleet.rollout.activate) == (None, False)


def test_a_node_that_waits_for_its_turn_is_not_late() -> None:
    fleet = whole_fleet()
    fleet.push(TWO)
    fleet.say("a", "DOWNLOADING", 2)
    for step in range(10):
        fleet.say("b", "DOWNLOADING", 2, progress=step / 10)
        fleet.tick(LIMITS.download_s - 1)
    assert fleet.rollout.next is not None


def test_a_node_that_is_away_is_waited_for_a_while() -> None:
    fleet = whole_fleet()
    fleet.push(TWO)
    fleet.say("a", "INSTALLED", 2)
    fleet.online("b", online=False)
    fleet.tick(LIMITS.offer_s - 1)
    assert fleet.rollout.next is not None
    fleet.tick(2)
    assert fleet.rollout.next is None
    assert "away" in fleet.outcome


def test_a_canary_goes_first() -> None:
    fleet = whole_fleet()
    fleet.push(TWO, canary="b")
    assert fleet.rollout.canary == "b"
    fleet.tick(LIMITS.offer_s - 1)
    fleet.say("b", "INSTALLED", 2)
    fleet.tick()
    assert (fleet.rollout.canary, fleet.rollout.activate) == ("", False)
    fleet.tick(LIMITS.offer_s - 1)  # the others' time begins now
    assert fleet.rollout.next is not None
    fleet.say("a", "INSTALLED", 2)
    fleet.tick()
    assert fleet.rollout.activate


def test_a_canary_that_fails_ends_the_release() -> None:
    fleet = whole_fleet()
    fleet.push(TWO, canary="b")
    fleet.say("b", "TERMINATED", 2, error="wrong")
    fleet.tick()
    assert fleet.rollout.next is None
    with pytest.raises(DevitError, match="no node 'c'"):
        fleet.push(TWO, canary="c")
    fleet.join("spare")
    with pytest.raises(DevitError, match="'spare' has no part"):
        fleet.push(TWO, canary="spare")


def test_two_pushes_at_once_are_refused() -> None:
    fleet = whole_fleet()
    fleet.push(TWO)
    with pytest.raises(DevitError, match="release 2 is under way"):
        fleet.push(ONE)


def test_what_is_served_is_not_pushed_again() -> None:
    fleet = whole_fleet()
    with pytest.raises(DevitError, match="already"):
        fleet.push(ONE)


def test_a_rollback_is_a_release_of_the_bundle_before() -> None:
    fleet = whole_fleet()
    go_over(fleet, fleet.push(TWO), TWO)
    fleet.conductor.roll_back(fleet.now)
    coming = fleet.rollout.next
    assert coming is not None
    assert (coming.number, coming.fingerprint) == (3, ONE.fingerprint)
    go_over(fleet, 3, ONE)
    assert fleet.rollout.current is not None
    assert fleet.rollout.current.number == 3


def test_a_rollback_ends_what_is_under_way() -> None:
    fleet = whole_fleet()
    fleet.push(TWO)
    fleet.conductor.roll_back(fleet.now)
    assert fleet.rollout.next is None
    with pytest.raises(DevitError, match="no release before"):
        fleet.conductor.roll_back(fleet.now)


def test_nothing_is_decided_while_it_is_paused() -> None:
    fleet = whole_fleet()
    fleet.push(TWO)
    fleet.conductor.pause(paused=True)
    fleet.say("a", "INSTALLED", 2)
    fleet.say("b", "INSTALLED", 2)
    fleet.tick(10_000)
    assert not fleet.rollout.activate
    fleet.conductor.pause(paused=False)
    fleet.tick()
    assert fleet.rollout.activate


@pytest.mark.parametrize("activate", [False, True])
def test_a_killed_hub_goes_on_where_it_was(*, activate: bool) -> None:
    fleet = whole_fleet()
    fleet.push(TWO)
    for name in ("a", "b"):
        fleet.say(name, "INSTALLED", 2)
    if activate:
        fleet.tick()
    fleet.restart()
    fleet.tick()
    assert fleet.rollout.activate
    go_over(fleet, 2, TWO)
    assert fleet.rollout.current is not None
    assert fleet.rollout.current.number == 2


def test_a_hub_that_lost_its_files_uses_no_number_again() -> None:
    fleet = Fleet()
    fleet.join("a", "b")
    fleet.say("a", "ACTIVATED", 41, serving=41)
    assert fleet.push(ONE) == 42


def test_a_number_that_nobody_can_have_counted_is_not_believed() -> None:
    """For instance of a stolen node: the next number would not fit into a message."""
    fleet = whole_fleet()
    fleet.join("c")
    fleet.say("c", "ACTIVATED", 2**62, serving=2**62)
    assert fleet.push(TWO) == 2


def test_a_node_that_is_gone_gives_its_part_to_a_spare() -> None:
    fleet = whole_fleet()
    fleet.join("spare")
    fleet.online("b", online=False)
    fleet.tick(LIMITS.takeover_s - 1)
    assert fleet.rollout.current is not None
    assert fleet.rollout.current.members == {"a": 0, "b": 1}
    fleet.tick(2)
    assert fleet.rollout.current.members == {"a": 0, "spare": 1}
    fleet.online("b")  # it comes back as a spare
    fleet.tick(2 * LIMITS.takeover_s)
    assert fleet.rollout.current.members == {"a": 0, "spare": 1}


def test_a_flapping_board_makes_no_part_wander() -> None:
    fleet = whole_fleet()
    fleet.join("spare")
    for _ in range(20):
        fleet.online("b", online=False)
        fleet.tick(LIMITS.takeover_s - 1)
        fleet.online("b")
        fleet.tick(1)
    assert members(fleet) == {"a": 0, "b": 1}
    fleet.online("b", online=False)
    fleet.tick(LIMITS.takeover_s + 1)
    assert members(fleet) == {"a": 0, "spare": 1}
    fleet.online("spare", online=False)
    fleet.tick(LIMITS.takeover_s - 1)
    fleet.online("b")  # it is the only spare, and was away until now
    fleet.tick(LIMITS.takeover_s - 1)
    fleet.online("spare")
    fleet.tick(1)
    assert members(fleet) == {"a": 0, "spare": 1}


def test_a_board_that_stays_takes_over_after_a_while() -> None:
    fleet = whole_fleet()
    fleet.join("spare")
    fleet.online("spare", online=False)
    fleet.online("b", online=False)
    fleet.tick(LIMITS.takeover_s + 1)
    fleet.online("spare")
    fleet.tick(LIMITS.takeover_s - 1)
    assert members(fleet) == {"a": 0, "b": 1}
    fleet.tick(2)
    assert members(fleet) == {"a": 0, "spare": 1}


def test_a_board_that_vanished_with_the_broker_is_gone_too() -> None:
    """Its will was lost, and what it said last is retained."""
    fleet = whole_fleet()
    fleet.join("spare")
    for _ in range(30):
        fleet.now += 10
        for name in ("a", "spare"):
            fleet.online(name)
        fleet.conductor.tick(fleet.now)
    assert members(fleet) == {"a": 0, "spare": 1}


def test_a_hub_that_heard_nobody_for_long_moves_nothing() -> None:
    """It hung, or its own connection was lost; then they say one by one that they are there."""
    fleet = whole_fleet()
    fleet.join("spare")
    fleet.now += 1000
    fleet.conductor.tick(fleet.now)
    for name in ("spare", "a", "b"):
        fleet.online(name)
        fleet.conductor.tick(fleet.now)
    assert members(fleet) == {"a": 0, "b": 1}


def test_a_part_goes_to_a_board_that_has_room_for_it() -> None:
    fleet = whole_fleet()
    fleet.conductor._needs = lambda _release: (100, 200)
    for name, memory_mib, cores in (("large", 300, 1), ("small", 150, 8)):
        fleet.join(name)
        board = BoardProfile(
            name, cores=cores, fma_gflops=10.0, memory_mib=memory_mib, overhead_mib=50
        )
        fleet.conductor.nodes[name].see_state(fleet.now, online=True, board=board)
    fleet.online("b", online=False)
    fleet.tick(LIMITS.takeover_s + 1)
    assert members(fleet) == {"a": 0, "large": 1}


def test_a_pinned_board_stays_pinned() -> None:
    fleet = Fleet()
    fleet.join("a", "b", "c")
    fleet.conductor.nodes["c"].pinned = 0
    go_over_with(fleet, ("b", "c", "a"))
    assert members(fleet) == {"c": 0, "a": 1}
    fleet.online("c", online=False)
    fleet.tick(LIMITS.takeover_s + 1)
    assert members(fleet) == {"c": 0, "a": 1, "b": 0}
    fleet.online("c")
    fleet.tick(LIMITS.takeover_s + 1)
    assert members(fleet) == {"c": 0, "a": 1, "b": 0}


def go_over_with(fleet: Fleet, names: tuple[str, ...]) -> None:
    number = fleet.push(ONE)
    for state in ("INSTALLED", "ACTIVATED"):
        for name in names:
            fleet.say(name, state, number)
        fleet.tick()
    for _ in range(LIMITS.good_labels):
        fleet.label(ONE.fingerprint)
    fleet.tick()


def members(fleet: Fleet) -> dict[str, int]:
    assert fleet.rollout.current is not None
    return fleet.rollout.current.members


def test_a_spare_takes_no_part_that_it_failed() -> None:
    fleet = whole_fleet()
    fleet.join("spare")
    fleet.say("spare", "TERMINATED", 1, error="no memory")
    fleet.online("b", online=False)
    fleet.tick(LIMITS.takeover_s + 1)
    assert fleet.rollout.current is not None
    assert fleet.rollout.current.members == {"a": 0, "b": 1}


def test_an_aggregator_may_download_before_any_node_is_known() -> None:
    """The hub was started before the nodes, and a release was pushed at once."""
    fleet = Fleet()
    fleet.aggregator("CREATED")
    number = fleet.push(ONE)
    fleet.aggregator("DOWNLOADING", number)
    fleet.tick()
    assert fleet.rollout.next is not None
    fleet.join("a", "b")
    fleet.tick()
    assert fleet.rollout.next.members.keys() == {"a", "b"}
