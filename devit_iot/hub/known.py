"""What the hub knows of one member of the fleet. Pure: time is an argument."""

from devit_iot.protocol.board import BoardProfile
from devit_iot.protocol.release import UpdateState, UpdateStatus
from devit_iot.protocol.status import STATUS_LIFETIME_S

READY: frozenset[UpdateState] = frozenset({"INSTALLED", "ACTIVATING", "ACTIVATED"})
"""States of a member that could serve a release at once."""


class Known:
    """A node or an aggregator.

    Attributes:
        online: whether it says that it is online.
        since: when that changed, monotonic seconds.
        board: what a node announced of its board; None: nothing.
        pinned: part that its operator chose; None: the hub chooses.
        returned: whether it was away and came back since the hub knows it.
        update: what it said of its way to a release; None: it has a bundle of its own.
        changed: when that update came, monotonic seconds.
    """

    def __init__(self, now: float) -> None:
        self.online = False
        self.since = now
        self.board: BoardProfile | None = None
        self.pinned: int | None = None
        self.returned = False
        self._heard = now
        self._was_online = False
        self.update: UpdateStatus | None = None
        self.changed = now

    def see_state(self, now: float, *, online: bool, board: BoardProfile | None = None) -> None:
        """It said, or its will did, whether it is there, and perhaps on which board."""
        self.board = board or self.board
        self._heard = now
        if online != self.online:
            self.online = online
            self.since = now
            self.returned = self.returned or (online and self._was_online)
        self._was_online = self._was_online or online

    def expire(self, now: float) -> None:
        """One that says nothing is away: its will may have been lost with the broker."""
        if self.online and now - self._heard > STATUS_LIFETIME_S:
            self.online = False
            self.since = self._heard

    def is_steady(self, now: float, limit_s: float) -> bool:
        """Whether it is there and was not away a short while ago."""
        return self.online and not (self.returned and now - self.since <= limit_s)

    def see_update(self, update: UpdateStatus, now: float) -> None:
        """It said how far it is."""
        if update != self.update:
            self.update = update
            self.changed = now

    def is_gone(self, now: float, limit_s: float) -> bool:
        """Whether it is away for longer than that."""
        return not self.online and now - self.since > limit_s

    def state_of(self, release: int) -> UpdateState | None:
        """How far it is with a release; None: it has not begun."""
        update = self.update
        return update.state if update is not None and update.release == release else None

    def serves(self, release: int, part: int) -> bool:
        """Whether it says that it serves a part of a release."""
        update = self.update
        return (
            self.online
            and update is not None
            and (update.release, update.part, update.state) == (release, part, "ACTIVATED")
        )

    def failure_of(self, release: int) -> str:
        """Why it cannot serve a release; empty if nothing is known against it."""
        if self.state_of(release) != "TERMINATED" or self.update is None:
            return ""
        return self.update.error or "it does not say why"
