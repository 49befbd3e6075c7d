"""Room for one frame per camera: a node that falls behind drops old frames, it does not lag."""

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """The newest item of each key, handed out to the key that has waited longest.

    Attributes:
        dropped: items replaced by a newer one before anyone took them.
    """

    def __init__(self, max_keys: int) -> None:
        self.dropped = 0
        self._max_keys = max_keys
        self._changed = threading.Condition()
        self._items: OrderedDict[str, T] = OrderedDict()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    def put(self, key: str, item: T) -> bool:
        """Replace what waits under ``key``, in its place in the queue.

        Returns:
            False if ``max_keys`` other keys wait already: the item is not taken.
        """
        with self._changed:
            if key in self._items:
                self.dropped += 1
            elif len(self._items) >= self._max_keys:
                return False
            self._items[key] = item
            self._changed.notify()
            return True

    def get(self, timeout_s: float) -> T | None:
        """Take the next item; None after ``timeout_s`` seconds, or at once when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._items, timeout_s)
            if self._closed or not self._items:
                return None
            return self._items.popitem(last=False)[1]

    def close(self) -> None:
        """Make this and every later :meth:`get` return None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
