"""QoS 1 messages on their way to the broker, and those that it may forget again. Pure of MQTT.

A broker acknowledges a message when it has it in memory. If it is killed before it writes that to
its disk, the message is gone although it was acknowledged. So messages that must not be lost stay
here for ``settle_s`` seconds more, and go out again if the connection is lost within that time.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple

logger = logging.getLogger(__name__)

MAX_SETTLING_BYTES = 64 * 2**20


class Outgoing(NamedTuple):
    """A QoS 1 message; with ``on_stored`` it must not be lost."""

    topic: str
    payload: bytes
    retain: bool
    on_stored: Callable[[], None] | None


Answer = Literal["stored", "refused", "unheard"]
"""``unheard``: nobody subscribes to the topic, so the broker took nothing over (MQTT 5 says so)."""


class Outbox:
    """What is sent and not acknowledged, and what is acknowledged and not settled.

    The acknowledgement may come, on the network thread, before the publishing thread knows the
    message's number: :meth:`sending` and :meth:`sent` bracket the publishing for that.

    Args:
        settle_s: how long an acknowledgement is not trusted yet.
        clock: monotonic seconds.

    Attributes:
        unsettled: messages that will not be sent again because more than 64 MiB were settling.
    """

    def __init__(self, settle_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.unsettled = 0
        self._settle_s = settle_s
        self._clock = clock
        self._changed = threading.Condition()
        self._sending = 0
        self._early: dict[int, Answer] = {}
        self._waiting: dict[int, Outgoing] = {}
        self._settling: deque[tuple[float, Outgoing]] = deque()
        self._settling_bytes = 0

    def __len__(self) -> int:
        """How many wait for their acknowledgement."""
        return len(self._waiting) + self._sending

    @property
    def settled(self) -> bool:
        """Whether all is acknowledged, and every acknowledgement can be trusted by now."""
        with self._changed:
            self._settle()
            return not (len(self) or self._settling)

    def sending(self) -> None:
        """Announce one :meth:`sent`."""
        with self._changed:
            self._sending += 1

    def sent(self, number: int | None, message: Outgoing) -> Outgoing | None:
        """The message has that number now; None: it could not be sent after all.

        Returns:
            The message if it must be sent again: see :meth:`acknowledged`.
        """
        with self._changed:
            self._sending -= 1
            early = None if number is None else self._early.pop(number, None)
            if number is not None and early is None:
                self._waiting[number] = message
            if not self._sending:
                self._early.clear()
            self._changed.notify_all()
        return None if early is None else self._close(message, early)

    def acknowledged(self, number: int, answer: Answer = "stored") -> Outgoing | None:
        """The broker answered to the message of that number, if it is one of ours.

        Returns:
            The message if it must be sent again: nobody heard it, and it must not be lost. One
            that the broker retains is not lost, and one that it refused it would refuse again.
        """
        with self._changed:
            message = self._waiting.pop(number, None)
            if message is None and self._sending:
                self._early[number] = answer
            self._changed.notify_all()
        return None if message is None else self._close(message, answer)

    def lost(self) -> list[Outgoing]:
        """What a broker that was killed now may have forgotten, oldest first.

        They are no longer settling: whoever sends them again adds them again. Their senders were
        told the first time.
        """
        with self._changed:
            self._settle()
            again = [message._replace(on_stored=_told) for _, message in self._settling]
            self._settling.clear()
            self._settling_bytes = 0
            return again

    def take_all(self) -> list[Outgoing]:
        """Remove what waits for its acknowledgement: its numbers mean nothing any more."""
        with self._changed:
            messages = list(self._waiting.values())
            self._waiting.clear()
            return messages

    def wait_empty(self, timeout_s: float) -> None:
        """Return when nothing waits for its acknowledgement, or after ``timeout_s``."""
        with self._changed:
            self._changed.wait_for(lambda: not len(self), timeout_s)

    def _close(self, message: Outgoing, answer: Answer) -> Outgoing | None:
        if message.on_stored is None or answer == "refused":
            return None
        if answer == "unheard" and not message.retain:
            return message
        with self._changed:
            self._settling.append((self._clock(), message))
            self._settling_bytes += len(message.payload)
            self._settle()
            while self._settling_bytes > MAX_SETTLING_BYTES:
                self._forget_oldest()
                if not self.unsettled:
                    logger.warning(
                        "more than 64 MiB were acknowledged in the last %g s: a broker that is "
                        "killed now may lose some of it",
                        self._settle_s,
                    )
                self.unsettled += 1
        message.on_stored()
        return None

    def _settle(self) -> None:
        settled = self._clock() - self._settle_s
        while self._settling and self._settling[0][0] < settled:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        _, message = self._settling.popleft()
        self._settling_bytes -= len(message.payload)


def _told() -> None:
    pass
