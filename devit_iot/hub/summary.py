"""What the hub tells people of the fleet's way to another release. Pure."""

from collections.abc import Iterable

from devit_iot.hub.known import Known
from devit_iot.hub.state import HubState
from devit_iot.protocol.hub_status import HubStatus
from devit_iot.protocol.release import Release, UpdateState

_DONE: dict[UpdateState, float] = {
    "CREATED": 0.0,
    "DOWNLOADED": 0.6,
    "INSTALLING": 0.6,
    "INSTALLED": 0.8,
    "ACTIVATING": 0.8,
    "ACTIVATED": 1.0,
    "TERMINATED": 0.0,
}
_DOWNLOAD = 0.6
"""Share of the way that the download is."""


def summary(state: HubState, members: Iterable[Known]) -> HubStatus:
    """The hub's status while it is online.

    Args:
        state: what it remembers.
        members: nodes that the next release needs, and all aggregators that follow the hub.
    """
    current, coming = state.rollout.current, state.rollout.next
    latest = coming or state.offered or current
    about = f"bundle {latest.fingerprint}" if latest is not None else ""
    return HubStatus(
        state="online",
        installed_version=_name(current),
        latest_version=_name(latest),
        in_progress=coming is not None,
        update_percentage=None if coming is None else _percentage(coming, members),
        release_summary="; ".join(filter(None, (about, state.outcome))),
        paused=state.rollout.paused,
    )


def _name(release: Release | None) -> str:
    return str(release.number) if release is not None else ""


def _percentage(coming: Release, members: Iterable[Known]) -> int:
    shares = [_share(known, coming.number) for known in members]
    return int(100 * sum(shares) / len(shares)) if shares else 0


def _share(known: Known, number: int) -> float:
    state = known.state_of(number)
    if state is None or known.update is None:
        return 0.0
    if state == "DOWNLOADING":
        return _DOWNLOAD * min(1.0, max(0.0, known.update.progress))
    return _DONE[state]
