"""Images of a cascade that wait for their node's turn, and may not be needed any more."""

import threading
from collections import OrderedDict
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

REMEMBER_S = 2.0
"""For so long an image is known to have its label: longer than a broker takes to deliver it."""

MAX_REMEMBERED = 4096


class _Held(NamedTuple, Generic[T]):
    item: T
    size: int
    due: float


class Holding(Generic[T]):
    """Items by request, each until it is due or not needed. Safe to use from several threads.

    Times are monotonic seconds, given as arguments.

    Args:
        max_bytes: bytes that the items may have together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._held: OrderedDict[bytes, _Held[T]] = OrderedDict()
        self._bytes = 0
        self._enough: OrderedDict[bytes, float] = OrderedDict()  # until when it is remembered

    def hold(self, request_id: bytes, item: T, size: int, due: float) -> bool:
        """Keep an item until ``due``.

        Returns:
            False if there is no room, or its request waits already: the item is not kept.
        """
        with self._lock:
            if request_id in self._held or self._bytes + size > self._max_bytes:
                return False
            self._held[request_id] = _Held(item, size, due)
            self._bytes += size
            return True

    def enough(self, request_id: bytes, now: float) -> T | None:
        """A request needs no further part: its item, if it waits; it is not kept any more."""
        with self._lock:
            self._enough[request_id] = now + REMEMBER_S
            self._enough.move_to_end(request_id)
            while self._enough and (
                len(self._enough) > MAX_REMEMBERED or now >= next(iter(self._enough.values()))
            ):
                self._enough.popitem(last=False)
            return self._pop(request_id)

    def is_enough(self, request_id: bytes, now: float) -> bool:
        """Whether a request was lately said to need no further part."""
        with self._lock:
            return now < self._enough.get(request_id, now)

    def due(self, now: float) -> list[T]:
        """Remove and return the items that are due, in the order in which they came."""
        if not self._held:  # fleets without a cascade ask for each image
            return []
        with self._lock:
            ready = [request_id for request_id, held in self._held.items() if now >= held.due]
            return [item for item in map(self._pop, ready) if item is not None]

    def wait_s(self, now: float, at_most: float) -> float:
        """How long until an item is due, at most so many seconds."""
        if not self._held:
            return at_most
        with self._lock:
            due = min((held.due for held in self._held.values()), default=now + at_most)
        return min(at_most, max(0.0, due - now))

    def _pop(self, request_id: bytes) -> T | None:
        held = self._held.pop(request_id, None)
        if held is None:
            return None
        self._bytes -= held.size
        return held.item
