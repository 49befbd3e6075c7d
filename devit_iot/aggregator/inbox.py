"""Messages on their way from the network thread to the one that works."""

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_ITEMS = 10_000
MAX_BYTES = 32 * 2**20


class Inbox(Generic[T]):
    """A queue that refuses what would be too many items or bytes."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._items: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._awake = False
        self._nudged = False

    def __len__(self) -> int:
        """How many items wait."""
        return len(self._items)

    def put(self, item: T, size: int, *, force: bool = False) -> bool:
        """Add an item of ``size`` bytes.

        Args:
            item: what is put; all items before it are served first.
            size: size of the item, bytes.
            force: take it although there is no room; the caller bounds how many of these there are.

        Returns:
            False if there is no room: the item is not taken.
        """
        with self._changed:
            full = len(self._items) >= MAX_ITEMS or self._bytes + size > MAX_BYTES
            if full and not force:
                return False
            self._items.append((item, size))
            self._bytes += size
            self._changed.notify()
            return True

    def get(self, timeout_s: float) -> T | None:
        """Take the oldest item; None after ``timeout_s`` seconds, or at once after :meth:`wake`.

        After :meth:`nudge` one call returns at once.
        """
        with self._changed:
            if not self._items and timeout_s > 0:
                self._changed.wait_for(self._is_due, timeout_s)
            self._nudged = False
            if not self._items:
                return None
            item, size = self._items.popleft()
            self._bytes -= size
            return item

    def _is_due(self) -> bool:
        return bool(self._items or self._awake or self._nudged)

    def wake(self) -> None:
        """Let :meth:`get` wait no longer."""
        with self._changed:
            self._awake = True
            self._changed.notify_all()

    def nudge(self) -> None:
        """Let :meth:`get` return once, with an item or without."""
        with self._changed:
            self._nudged = True
            self._changed.notify()
