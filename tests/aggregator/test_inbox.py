"""What waits for the aggregator is bounded, in number and in bytes."""

import threading

import pytest

from devit_iot.aggregator import inbox as inbox_module
from devit_iot.aggregator.inbox import Inbox


def test_items_come_in_order() -> None:
    inbox: Inbox[str] = Inbox()
    assert all(inbox.put(item, 1) for item in "abc")
    assert [inbox.get(0) for _ in range(4)] == ["a", "b", "c", None]


def test_the_number_of_items_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "MAX_ITEMS", 2)
    inbox: Inbox[int] = Inbox()
    assert [inbox.put(item, 0) for item in range(3)] == [True, True, False]
    assert inbox.put(3, 0, force=True)
    assert [inbox.get(0) for _ in range(3)] == [0, 1, 3]
    assert inbox.put(4, 0)


def test_their_bytes_are_bounded() -> None:
    inbox: Inbox[int] = Inbox()
    half = inbox_module.MAX_BYTES // 2
    assert inbox.put(0, half)
    assert not inbox.put(1, half + 1)
    assert inbox.put(2, half)
    assert not inbox.put(3, 1)
    assert inbox.put(4, half, force=True)
    assert [inbox.get(0) for _ in range(2)] == [0, 2]
    assert inbox.put(5, half)  # beside the half of what had to be taken


def test_whoever_waits_is_woken() -> None:
    inbox: Inbox[int] = Inbox()
    got: list[int | None] = []
    thread = threading.Thread(target=lambda: got.extend((inbox.get(60), inbox.get(60))))
    thread.start()
    inbox.put(1, 1)
    inbox.wake()
    thread.join(20)
    assert not thread.is_alive()
    assert got == [1, None]
    assert inbox.get(60) is None  # for good
