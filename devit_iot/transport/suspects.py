"""Messages for which the broker may have ended the connection. Pure of MQTT."""

from collections.abc import Iterable

from devit_iot.transport.outgoing import Outgoing

HANG_UPS = 3
"""Hang-ups in a row with a message in flight, all but the first with it alone.

A broker that is killed hangs up too, and may be killed twice within one message's round trip.
"""


class Suspects:
    """The messages that were in flight when the broker hung up. Not safe across threads.

    Each goes out alone from then on, so that a hang-up tells which one it was.
    """

    def __init__(self) -> None:
        self._hang_ups: dict[int, tuple[Outgoing, int]] = {}  # by identity: equal ones are others

    def __len__(self) -> int:
        """How many messages are suspected."""
        return len(self._hang_ups)

    def __contains__(self, message: Outgoing) -> bool:
        return id(message) in self._hang_ups

    def hung_up(self, in_flight: Iterable[Outgoing]) -> Outgoing | None:
        """The broker hung up; return the message that it hung up for, if that is sure by now."""
        guilty = None
        for message in in_flight:
            _, hang_ups = self._hang_ups.get(id(message), (message, 0))
            self._hang_ups[id(message)] = (message, hang_ups + 1)
            if hang_ups + 1 == HANG_UPS:
                guilty = message
        if guilty is not None:
            self.acquit(guilty)
        return guilty

    def acquit(self, message: Outgoing) -> None:
        """The broker took the message, or will not get it any more."""
        self._hang_ups.pop(id(message), None)

    def acquit_all(self) -> None:
        """The broker itself was gone."""
        self._hang_ups.clear()
