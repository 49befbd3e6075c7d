"""Frames that wait for their turn: one of a camera, or every one of it."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

_ITEM_BYTES = 1024
"""What a queued item costs beside its payload, rounded up."""


class _Waiting(NamedTuple, Generic[T]):
    item: T
    rank: int
    size: int


class Mailbox(Generic[T]):
    """Items by key; the key that has waited longest is served next, one item a turn.

    :meth:`put` queues one item of a key: a consumer that falls behind drops, it does not lag.
    :meth:`enqueue` queues every item of a key, in order. A key is used with one of the two.

    Args:
        max_keys: keys that may wait before :meth:`put` refuses another one.
        max_queued_bytes: bytes that the items of :meth:`enqueue` may have together.
        on_dropped: called with an item of :meth:`put` that gave way to another one.
    """

    def __init__(
        self,
        max_keys: int,
        *,
        max_queued_bytes: int = 0,
        on_dropped: Callable[[T], None] = lambda _item: None,
    ) -> None:
        self._max_keys = max_keys
        self._max_queued_bytes = max_queued_bytes
        self._on_dropped = on_dropped
        self._changed = threading.Condition()
        self._items: OrderedDict[Hashable, deque[_Waiting[T]]] = OrderedDict()
        self._queued_bytes = 0
        self._closed = False
        self._nudged = False

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._items

    def put(self, key: Hashable, item: T, rank: int = 0) -> bool:
        """Replace what waits under ``key``, in its place in the queue, unless that ranks higher.

        Returns:
            False if ``max_keys`` other keys wait already: the item is not taken.
        """
        with self._changed:
            waiting = self._items.get(key)
            if waiting is None:
                if len(self._items) >= self._max_keys:
                    return False
                self._items[key] = deque([_Waiting(item, rank, 0)])
                self._changed.notify()
                return True
            dropped = item
            if rank >= waiting[0].rank:
                dropped = waiting[0].item
                waiting[0] = _Waiting(item, rank, 0)
        self._on_dropped(dropped)
        return True

    def enqueue(self, key: Hashable, item: T, size: int) -> bool:
        """Add an item of ``size`` bytes behind those of ``key``.

        Returns:
            False if the queue is full: the item is not taken.
        """
        size += _ITEM_BYTES
        with self._changed:
            if self._queued_bytes + size > self._max_queued_bytes:
                return False
            self._items.setdefault(key, deque()).append(_Waiting(item, 0, size))
            self._queued_bytes += size
            self._changed.notify()
            return True

    def reserve(self, size: int) -> bool:
        """Keep room for an item that waits elsewhere; False if there is none."""
        with self._changed:
            if self._queued_bytes + size + _ITEM_BYTES > self._max_queued_bytes:
                return False
            self._queued_bytes += size + _ITEM_BYTES
            return True

    def release(self, size: int) -> None:
        """Give room back that :meth:`reserve` kept."""
        with self._changed:
            self._queued_bytes -= size + _ITEM_BYTES

    def get(self, timeout_s: float) -> T | None:
        """Take the next item; None after ``timeout_s`` seconds, or at once when closed.

        After :meth:`nudge` one call returns at once.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._items or self._nudged, timeout_s)
            self._nudged = False
            if self._closed or not self._items:
                return None
            key, waiting = self._items.popitem(last=False)
            item, _, size = waiting.popleft()
            if waiting:
                self._items[key] = waiting
            self._queued_bytes -= size
            return item

    def nudge(self) -> None:
        """Let :meth:`get` return once, with an item or without."""
        with self._changed:
            self._nudged = True
            self._changed.notify_all()

    def close(self) -> None:
        """Make this and every later :meth:`get` return None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
