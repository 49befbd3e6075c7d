"""Tells nodes that wait for their turn that an image has its label."""

from collections import deque
from collections.abc import Callable

from devit_iot.transport.base import Transport


class Enough:
    """Says so when the broker has every label of a request, and only then.

    What is said makes nodes drop the image: whoever said it before the labels were safe, and then
    died, would have cost an image its label.

    Args:
        transport: connection of the aggregator.
        topic: where it is said.
        nudge: makes the aggregator's own thread call :meth:`say` soon.
    """

    def __init__(self, transport: Transport, topic: str, nudge: Callable[[], None]) -> None:
        self._transport = transport
        self._topic = topic
        self._nudge = nudge
        self._ready: deque[bytes] = deque()

    def after(self, request_id: bytes, done: Callable[[], None]) -> None:
        """The broker has all labels of a request: do what is to be done, and say it; any thread."""
        done()
        self._ready.append(request_id)
        self._nudge()

    def say(self) -> None:
        """Say what is to be said; a node that does not hear it computes the image."""
        while self._ready:
            self._transport.publish(self._topic, self._ready.popleft())
