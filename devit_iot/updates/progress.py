"""What a member says of its way to a release: at once when a state begins, else once a second."""

import time
from collections.abc import Callable

import msgspec

from devit_iot.protocol.release import UpdateState, UpdateStatus

_INTERVAL_S = 1.0


class Progress:
    """The member's latest UpdateStatus, and who is told of it. Used by one thread, but `repeat`.

    Args:
        publish: sends a status.
        status: where the member is at first.
    """

    def __init__(self, publish: Callable[[UpdateStatus], None], status: UpdateStatus) -> None:
        self._publish = publish
        self._said_at = 0.0
        self.status = status

    def say(self, state: UpdateState, **changes: object) -> None:
        """Another state began, or something else changed that nobody may miss."""
        latest = msgspec.structs.replace(self.status, state=state, **changes)
        if latest != self.status:
            self.status = latest
            self.repeat()

    def reach(self, share: float) -> None:
        """Take note of the share of the bytes that is there, 0 to 1."""
        self.status = msgspec.structs.replace(self.status, progress=round(share, 3))
        if time.monotonic() - self._said_at >= _INTERVAL_S:
            self.repeat()

    def repeat(self) -> None:
        """Say it, for instance after a new connection."""
        self._said_at = time.monotonic()
        self._publish(self.status)
