"""Which parts are worth waiting for."""

import pytest

from devit_iot.aggregator import presence as presence_module
from devit_iot.aggregator.presence import GRACE_S, SILENCE_S, Presence
from devit_iot.protocol.status import STATUS_LIFETIME_S

START = 1000.0
SETTLED = START + GRACE_S


@pytest.fixture
def presence() -> Presence:
    return Presence(3, START)


def test_times_are_as_documented() -> None:
    assert (GRACE_S, SILENCE_S, STATUS_LIFETIME_S) == (5.0, 30.0, 90.0)


def test_at_first_everything_is_expected_and_nothing_alive(presence: Presence) -> None:
    assert presence.expected(START) == {0, 1, 2}
    assert presence.expected(SETTLED - 0.001) == {0, 1, 2}
    assert presence.expected(SETTLED) == set()
    assert presence.alive(START) == set()


def test_who_says_online_often_enough_stays_so(presence: Presence) -> None:
    presence.online("a", 1, START)
    assert presence.alive(START) == {1}
    assert presence.expected(START + STATUS_LIFETIME_S - 0.001) == {1}
    presence.online("a", 1, START + STATUS_LIFETIME_S)
    assert presence.expected(START + 2 * STATUS_LIFETIME_S - 0.001) == {1}
    assert presence.expected(START + 2 * STATUS_LIFETIME_S) == set()  # what it left behind is old


def test_who_is_offline_is_not_expected_even_at_first(presence: Presence) -> None:
    presence.offline("a", 1)
    assert presence.expected(START) == {0, 2}
    presence.online("a", 1, START)
    assert presence.expected(START) == {0, 1, 2}
    presence.offline("a", 1)
    assert presence.expected(START) == {0, 2}
    assert presence.alive(START) == set()
    assert presence.expected(SETTLED) == set()


def test_a_feature_counts_for_a_while(presence: Presence) -> None:
    presence.heard("a", 2, START)
    assert presence.alive(START + SILENCE_S - 0.001) == {2}
    assert presence.alive(START + SILENCE_S) == set()
    presence.heard("a", 2, START + 100)
    assert presence.expected(START + 101) == {2}


def test_a_silent_part_is_not_expected_again_as_unknown() -> None:
    presence = Presence(2, START)
    presence.heard("a", 0, START - SILENCE_S)
    assert presence.expected(START) == {1}


def test_a_feature_does_not_shorten_online(presence: Presence) -> None:
    presence.online("a", 0, START)
    presence.heard("a", 0, START)
    assert presence.alive(START + STATUS_LIFETIME_S - 0.001) == {0}


def test_an_older_feature_does_not_shorten_a_newer_one(presence: Presence) -> None:
    presence.heard("a", 0, START + 20)
    presence.heard("a", 0, START)
    assert presence.alive(START + 20 + SILENCE_S - 0.001) == {0}


def test_offline_ends_what_a_feature_said(presence: Presence) -> None:
    presence.heard("a", 0, SETTLED)
    presence.offline("a", 0)
    assert presence.expected(SETTLED) == set()


def test_a_part_lives_while_one_of_its_nodes_does(presence: Presence) -> None:
    presence.online("a", 0, START)
    presence.online("b", 0, START)
    presence.offline("a", 0)
    assert presence.expected(SETTLED) == {0}
    presence.offline("b", 0)
    assert presence.expected(SETTLED) == set()


def test_a_node_that_changed_its_part_leaves_the_old_one(presence: Presence) -> None:
    presence.online("a", 0, START)
    presence.online("a", 1, START)
    assert presence.alive(SETTLED) == {1}
    presence.heard("a", 2, SETTLED)
    assert presence.alive(SETTLED) == {2}
    assert presence.alive(SETTLED + SILENCE_S) == set()  # it never said online for part 2


@pytest.mark.parametrize("part", [-1, 3, 255])
def test_a_part_that_does_not_exist_is_never_expected(presence: Presence, part: int) -> None:
    presence.online("a", part, START)
    presence.heard("b", part, START)
    assert presence.alive(START) == set()
    assert presence.expected(START) == {0, 1, 2}


def test_one_node_too_many_takes_the_place_of_the_one_forgotten_first(
    presence: Presence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_module, "MAX_NODES", 2)
    presence.online("a", 0, START)
    presence.heard("b", 1, START + 1)  # counts for a shorter time than a status
    presence.online("a", 0, START + 2)  # a known node takes nobody's place
    assert presence.alive(START + 2) == {0, 1}
    presence.heard("c", 2, START + 3)
    assert presence.alive(START + 3) == {0, 2}
    presence.online("b", 1, START + 4)
    assert presence.alive(START + 4) == {0, 1}


def test_who_left_makes_room(presence: Presence, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_module, "MAX_NODES", 2)
    presence.online("a", 0, START)
    presence.online("b", 1, START)
    presence.offline("b", 1)
    presence.online("c", 2, START)
    assert presence.alive(START) == {0, 2}
