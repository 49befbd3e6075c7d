"""What the hub says of itself, and the release that waits for somebody to install it."""

import msgspec
import pytest

from devit_iot.errors import DevitError
from devit_iot.hub.known import Known
from devit_iot.hub.state import HubState
from devit_iot.hub.summary import summary
from devit_iot.protocol.release import Rollout, UpdateState, UpdateStatus
from tests.support.conducted import EMPTY, ONE, TWO, whole_fleet


def known(release: int, state: UpdateState, progress: float = 0.0) -> Known:
    member = Known(0.0)
    update = UpdateStatus(release=release, fingerprint="", state=state, progress=progress)
    member.see_update(update, 0.0)
    return member


def test_a_hub_that_was_given_nothing() -> None:
    said = summary(EMPTY, [])
    assert (said.installed_version, said.latest_version, said.in_progress) == ("", "", False)


def test_what_is_under_way_is_the_latest() -> None:
    fleet = whole_fleet()
    fleet.push(TWO)
    said = summary(fleet.conductor.state, [])
    assert (said.installed_version, said.latest_version, said.in_progress) == ("1", "2", True)
    assert TWO.fingerprint in said.release_summary
    assert "under way" in said.release_summary


@pytest.mark.parametrize(
    ("members", "percentage"),
    [
        ([], 0),
        ([known(2, "DOWNLOADING", 0.5)], 30),
        ([known(2, "ACTIVATED"), known(2, "ACTIVATED")], 100),
        ([known(2, "ACTIVATED"), known(1, "ACTIVATED")], 50),
        ([known(2, "TERMINATED")], 0),
        ([known(2, "DOWNLOADING", 1e9)], 60),
        ([known(2, "DOWNLOADING", -1.0)], 0),
    ],
)
def test_progress_is_the_mean_of_the_members(members: list[Known], percentage: int) -> None:
    number = msgspec.structs.replace
    state = HubState(Rollout("", number(ONE, number=1), number(TWO, number=2)))
    assert summary(state, members).update_percentage == percentage


def test_what_is_offered_is_installed_when_somebody_says_so() -> None:
    fleet = whole_fleet()
    assert fleet.conductor.offer(TWO) == 2
    said = summary(fleet.conductor.state, [])
    assert (said.installed_version, said.latest_version, said.in_progress) == ("1", "2", False)
    assert fleet.rollout.next is None
    assert fleet.conductor.install(fleet.now) == 2
    assert fleet.rollout.next is not None
    assert fleet.rollout.next.number == 2
    with pytest.raises(DevitError, match="no release is offered"):
        fleet.conductor.install(fleet.now)


def test_what_cannot_be_offered_is_refused() -> None:
    fleet = whole_fleet()
    with pytest.raises(DevitError, match="already"):
        fleet.conductor.offer(ONE)
    with pytest.raises(DevitError, match="no release is offered"):
        fleet.conductor.install(fleet.now)
    fleet.push(TWO)
    with pytest.raises(DevitError, match="under way"):
        fleet.conductor.offer(msgspec.structs.replace(TWO, fingerprint="3" * 16))


def test_a_push_takes_the_place_of_what_was_offered() -> None:
    fleet = whole_fleet()
    fleet.conductor.offer(TWO)
    assert fleet.push(msgspec.structs.replace(TWO, fingerprint="3" * 16)) == 3
    assert fleet.conductor.state.offered is None


def test_a_take_over_is_said() -> None:
    fleet = whole_fleet()
    fleet.join("spare")
    fleet.online("b", online=False)
    fleet.tick(101)
    assert fleet.outcome == "node spare takes over part 1 from b"
