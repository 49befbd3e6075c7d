"""The newest item of each key, in the order in which the keys began to wait."""

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devit_iot.node.mailbox import Mailbox


def drained(mailbox: Mailbox[int]) -> list[int]:
    items = []
    while (item := mailbox.get(0)) is not None:
        items.append(item)
    return items


def test_the_newest_wins() -> None:
    dropped: list[int] = []
    mailbox: Mailbox[int] = Mailbox(4, on_dropped=dropped.append)
    assert all(mailbox.put("a", item) for item in range(5))
    assert dropped == [0, 1, 2, 3]
    assert drained(mailbox) == [4]
    assert dropped == [0, 1, 2, 3]


def test_a_higher_rank_stays() -> None:
    dropped: list[int] = []
    mailbox: Mailbox[int] = Mailbox(4, on_dropped=dropped.append)
    for item, rank in enumerate([3, 1, 7, 7, 2]):
        assert mailbox.put("a", item, rank)
    assert dropped == [1, 0, 2, 4]
    assert drained(mailbox) == [3]


def test_a_replaced_item_keeps_its_place() -> None:
    mailbox: Mailbox[int] = Mailbox(4)
    mailbox.put("slow", 1)
    mailbox.put("fast", 2)
    mailbox.put("slow", 3)
    mailbox.put("fast", 4)
    assert drained(mailbox) == [3, 4]


def test_a_fast_camera_does_not_starve_a_slow_one() -> None:
    mailbox: Mailbox[str] = Mailbox(4)
    mailbox.put("fast", "fast")
    taken = []
    for turn in range(6):
        if turn == 1:
            mailbox.put("slow", "slow")
        taken.append(mailbox.get(0))
        mailbox.put("fast", "fast")
    assert taken == ["fast", "fast", "slow", "fast", "fast", "fast"]


def test_the_number_of_keys_is_bounded() -> None:
    dropped: list[int] = []
    mailbox: Mailbox[int] = Mailbox(2, on_dropped=dropped.append)
    assert mailbox.put("a", 1)
    assert mailbox.put("b", 2)
    assert not mailbox.put("c", 3)
    assert mailbox.put("a", 4)  # known keys still take newer items
    assert dropped == [1]  # a refused item is not a dropped one
    assert mailbox.get(0) == 4
    assert mailbox.put("c", 5)
    assert drained(mailbox) == [2, 5]


STEPS = st.one_of(st.none(), st.tuples(st.booleans(), st.sampled_from("abcd")))


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_against_a_list(steps: list[tuple[bool, str] | None]) -> None:
    """None takes, a pair keeps or puts; the model is a list of queues."""
    dropped: list[int] = []
    room = 5 * (1024 + 10)
    mailbox: Mailbox[int] = Mailbox(3, max_queued_bytes=room, on_dropped=dropped.append)
    waiting: list[tuple[tuple[bool, str], list[int]]] = []
    lost: list[int] = []
    for number, step in enumerate(steps):
        queues = dict(waiting)
        if step is None:
            wanted = None
            if waiting:
                key, items = waiting.pop(0)
                wanted = items.pop(0)
                waiting += [(key, items)] if items else []
            assert mailbox.get(0) == wanted
        elif step[0]:
            kept = sum(len(items) for (keeps, _), items in waiting if keeps)
            assert mailbox.enqueue(step, number, 10) == (kept < 5)
            if kept < 5:
                queues.get(step, []).append(number)
                waiting += [] if step in queues else [(step, [number])]
        elif step in queues:
            lost.append(queues[step][0])
            queues[step][0] = number
            assert mailbox.put(step, number)
        else:
            assert mailbox.put(step, number) == (len(waiting) < 3)
            waiting += [(step, [number])] if len(waiting) < 3 else []
        assert mailbox.empty == (not waiting)
    assert dropped == lost


def test_cameras_take_turns_whatever_they_keep() -> None:
    mailbox: Mailbox[str] = Mailbox(4, max_queued_bytes=10**6)
    for number in range(3):
        assert mailbox.enqueue("a", f"a{number}", 10)
    mailbox.put("b", "b0")
    assert mailbox.enqueue("c", "c0", 10)
    taken = []
    while (item := mailbox.get(0)) is not None:
        taken.append(item)
    assert taken == ["a0", "b0", "c0", "a1", "a2"]


def test_what_is_kept_is_bounded_by_its_bytes() -> None:
    mailbox: Mailbox[int] = Mailbox(4, max_queued_bytes=100_000)
    assert mailbox.enqueue("a", 1, 60_000)
    assert not mailbox.enqueue("b", 2, 60_000)
    assert mailbox.enqueue("b", 3, 30_000)
    assert drained(mailbox) == [1, 3]
    assert mailbox.enqueue("b", 4, 90_000)


def test_an_empty_mailbox_waits_no_longer_than_asked() -> None:
    begin = time.monotonic()
    assert Mailbox[int](1).get(0.05) is None
    assert 0.04 < time.monotonic() - begin < 2


def test_close_empties() -> None:
    mailbox: Mailbox[int] = Mailbox(4)
    mailbox.put("a", 1)
    assert not mailbox.closed
    mailbox.close()
    assert mailbox.closed
    assert mailbox.get(60) is None
    mailbox.put("b", 2)
    assert mailbox.get(60) is None


@pytest.mark.parametrize("wake", ["put", "close"])
def test_a_waiting_get_wakes(wake: str) -> None:
    mailbox: Mailbox[int] = Mailbox(4)
    found: list[int | None] = []
    thread = threading.Thread(target=lambda: found.append(mailbox.get(60)), daemon=True)
    thread.start()
    time.sleep(0.05)
    if wake == "put":
        mailbox.put("a", 7)
    else:
        mailbox.close()
    thread.join(10)
    assert found == [7 if wake == "put" else None]


def test_close_wakes_every_waiting_get() -> None:
    mailbox: Mailbox[int] = Mailbox(4)
    threads = [threading.Thread(target=mailbox.get, args=(60,), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    mailbox.close()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


def test_nothing_is_lost_between_threads() -> None:
    dropped: list[int] = []
    mailbox: Mailbox[int] = Mailbox(4, on_dropped=dropped.append)
    count = 2000
    taken: list[int] = []

    def take() -> None:
        while (item := mailbox.get(10)) is not None:
            taken.append(item)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    for number in range(count):
        mailbox.put(str(number % 4), number)
    deadline = time.monotonic() + 10
    while len(taken) + len(dropped) < count and time.monotonic() < deadline:
        time.sleep(0.001)
    mailbox.close()
    thread.join(10)
    assert len(taken) + len(dropped) == count
    assert len(set(taken)) == len(taken)
    for key in range(4):  # later items of one key come later
        own = [number for number in taken if number % 4 == key]
        assert own == sorted(own)
