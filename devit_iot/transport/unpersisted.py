"""QoS 1 messages that the broker has acknowledged, and that it may forget again. Pure of MQTT.

A broker acknowledges a message when it has it in memory. If it is killed before it writes that to
its disk, the message is gone although it was acknowledged. So messages that must not be lost stay
here for ``persist_s`` seconds more, and go out again if the connection is lost within that time.
"""

import logging
from collections import deque
from collections.abc import Callable

from devit_iot.transport.outgoing import Outgoing

logger = logging.getLogger(__name__)

MAX_BYTES = 64 * 2**20


class Unpersisted:
    """The messages whose acknowledgement is younger than ``persist_s``. Not safe across threads.

    Args:
        persist_s: how long an acknowledgement is not trusted yet.
        clock: monotonic seconds.
    """

    def __init__(self, persist_s: float, clock: Callable[[], float]) -> None:
        self._warned = False
        self._persist_s = persist_s
        self._clock = clock
        self._messages: deque[tuple[float, Outgoing]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        """How many acknowledgements cannot be trusted yet."""
        self._trust()
        return len(self._messages)

    def add(self, message: Outgoing) -> None:
        """Keep a message that has just been acknowledged."""
        self._messages.append((self._clock(), message))
        self._bytes += len(message.payload)
        self._trust()
        while self._bytes > MAX_BYTES:
            self._forget_oldest()
            if not self._warned:
                logger.warning(
                    "more than 64 MiB were acknowledged in the last %g s: a broker that is "
                    "killed now may lose some of it",
                    self._persist_s,
                )
            self._warned = True

    def take_all(self) -> list[Outgoing]:
        """Remove and return what a broker that was killed now may have forgotten, oldest first."""
        self._trust()
        messages = [message for _, message in self._messages]
        self._messages.clear()
        self._bytes = 0
        return messages

    def _trust(self) -> None:
        persisted = self._clock() - self._persist_s
        while self._messages and self._messages[0][0] < persisted:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        _, message = self._messages.popleft()
        self._bytes -= len(message.payload)
