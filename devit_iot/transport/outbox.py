"""QoS 1 messages on their way to the broker's disk: queued, in flight, unpersisted. No MQTT."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from devit_iot.transport.limits import MAX_IN_FLIGHT
from devit_iot.transport.outgoing import Outgoing
from devit_iot.transport.suspects import Suspects
from devit_iot.transport.unpersisted import Unpersisted

NO_SUBSCRIBERS_PAUSE_S = 1.0
Acknowledgement = Literal["accepted", "refused", "no_subscribers"]
"""What a PUBACK says. ``no_subscribers``: the broker took nothing over (MQTT 5 says so)."""


class Outbox:
    """Hands out the messages in order, never more at once than the broker takes.

    The acknowledgement may come, on the network thread, before the publishing thread knows the
    message's number: :meth:`take` and :meth:`sent` bracket the publishing for that.

    Args:
        persist_s: how long an acknowledgement is not trusted yet.
        clock: monotonic seconds.
    """

    def __init__(self, persist_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._window = MAX_IN_FLIGHT
        self._queue: deque[Outgoing] = deque()
        self._taken = 0
        self._early: dict[int, Acknowledgement] = {}
        self._in_flight: dict[int, Outgoing] = {}
        self._unpersisted = Unpersisted(persist_s, clock)
        self._retries: deque[Outgoing] = deque()
        self._retry_at = 0.0
        self._suspects = Suspects()

    def __len__(self) -> int:
        """How many are queued or wait for their acknowledgement."""
        return len(self._queue) + len(self._in_flight) + self._taken

    @property
    def persisted(self) -> bool:
        """Whether all is acknowledged, and every acknowledgement can be trusted by now."""
        with self._changed:
            return not (len(self) or self._retries or len(self._unpersisted))

    @property
    def topic_without_subscribers(self) -> str:
        """The topic of a message that nobody heard and that goes out again; empty if none."""
        return self._retries[0].topic if self._retries else ""

    def put(self, message: Outgoing) -> None:
        """Queue a message behind all others."""
        with self._changed:
            self._queue.append(message)

    def connected(self, window: int) -> None:
        """A connection is ready, and the broker takes ``window`` messages at once."""
        with self._changed:
            self._window = window
            self._retry_at = self._clock()

    def take(self) -> Outgoing | None:
        """The next message to send, followed by one :meth:`sent`; None: nothing may go now."""
        with self._changed:
            if self._retries and self._clock() >= self._retry_at:
                self._queue.extendleft(reversed(self._retries))
                self._retries.clear()
            if not self._queue or self._taken + len(self._in_flight) >= self._room():
                return None
            self._taken += 1
            return self._queue.popleft()

    def sent(self, number: int | None, message: Outgoing) -> None:
        """The message has that number now; None: it could not be sent, and is the next again."""
        with self._changed:
            self._taken -= 1
            early = None if number is None else self._early.pop(number, None)
            if number is None:
                self._queue.appendleft(message)
            elif early is None:
                self._in_flight[number] = message
            if not self._taken:
                self._early.clear()
        if early is not None:
            self._close(message, early)

    def drop(self) -> None:
        """The message of the last :meth:`take` is not sent at all."""
        with self._changed:
            self._taken -= 1
            self._changed.notify_all()

    def acknowledged(self, number: int, answer: Acknowledgement = "accepted") -> None:
        """The broker answered to the message of that number, if it is one of ours."""
        with self._changed:
            message = self._in_flight.pop(number, None)
            if message is None and self._taken:
                self._early[number] = answer
        if message is not None:
            self._close(message, answer)

    def lost(self, *, hung_up: bool) -> Outgoing | None:
        """The connection ended: what the broker may not have is queued again, oldest first.

        Args:
            hung_up: whether the broker ended the connection, and was reachable before that.

        Returns:
            A message that is given up: the broker hung up each time when it got it.
        """
        with self._changed:
            in_flight = self._in_flight.values()
            given_up = self._suspects.hung_up(in_flight) if hung_up else None
            self._queue_again(given_up)
            unsafe = [m._replace(on_puback=_told) for m in self._unpersisted.take_all()]
            self._queue.extendleft(reversed(unsafe))
            self._changed.notify_all()
            return given_up

    def closed(self) -> None:
        """We ended the connection: the broker has all that it acknowledged, and no more."""
        with self._changed:
            self._queue_again()

    def unreachable(self) -> None:
        """There was no connection: the broker itself is gone, so no message is to blame."""
        with self._changed:
            self._suspects.acquit_all()

    def wait_empty(self, timeout_s: float) -> None:
        """Return when nothing waits for its acknowledgement, or after ``timeout_s``."""
        with self._changed:
            self._changed.wait_for(lambda: not len(self), timeout_s)

    def _room(self) -> int:
        """How many messages may be in flight with the next one, and it among them."""
        if not self._suspects:
            return self._window
        one_alone = [self._queue[0], *self._in_flight.values()]
        return 1 if any(message in self._suspects for message in one_alone) else self._window

    def _queue_again(self, given_up: Outgoing | None = None) -> None:
        again = [message for message in self._in_flight.values() if message is not given_up]
        self._queue.extendleft(reversed(again))
        self._in_flight.clear()
        self._early.clear()

    def _close(self, message: Outgoing, answer: Acknowledgement) -> None:
        """Tell the sender if the broker has the message.

        A message that nobody heard and that must not be lost goes out again. One that the broker
        retains is not lost, and one that it refused it would refuse again.
        """
        with self._changed:
            self._suspects.acquit(message)
            must_not_be_lost = message.on_puback is not None and answer != "refused"
            repeated = must_not_be_lost and answer == "no_subscribers" and not message.retain
            if repeated:
                self._retries.append(message)
                self._retry_at = self._clock() + NO_SUBSCRIBERS_PAUSE_S
            elif must_not_be_lost:
                self._unpersisted.add(message)
            self._changed.notify_all()
        if message.on_puback is not None and must_not_be_lost and not repeated:
            message.on_puback()


def _told() -> None:
    """Stand in for an ``on_puback`` that was called before."""
