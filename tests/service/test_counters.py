"""Counts are exact, and a flood of bad messages is one log line a second."""

import logging
import threading

import pytest

from devit_iot.errors import ImageError, MessageError
from devit_iot.service.counters import Counters

logger = logging.getLogger("tests.tally")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def damaged() -> ImageError:
    return ImageError("damaged", "it does not decode")


def test_counts() -> None:
    counters = Counters(logger)
    assert counters["late"] == 0
    counters.count("late")
    counters.count("late")
    counters.count("duplicate")
    assert (counters["late"], counters["duplicate"], counters["other"]) == (2, 1, 0)
    assert counters.refused == {}


def test_refusals_are_counted_by_reason(clock: Clock) -> None:
    counters = Counters(logger, clock)
    for _ in range(3):
        counters.refuse(damaged(), "cameras/door/image")
    counters.refuse(MessageError("magic", "no feature"), "x")
    assert counters.refused == {"damaged": 3, "magic": 1}
    counters.refused.clear()  # a copy
    assert counters.refused == {"damaged": 3, "magic": 1}


def test_a_flood_is_one_line_a_second(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    counters = Counters(logger, clock)
    for step in range(250):  # 2.5 s; powers of two keep the clock exact
        clock.now = 64 + step / 128
        counters.refuse(damaged(), "cameras/door/image")
    assert caplog.messages == [
        "refused cameras/door/image: it does not decode",
        "refused cameras/door/image: it does not decode (and 127 like it before)",
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    clock.now = 1000.0
    counters.refuse(damaged(), "cameras/door/image")
    assert caplog.messages[-1].endswith("(and 121 like it before)")
    clock.now = 2000.0
    counters.refuse(damaged(), "cameras/door/image")
    assert caplog.messages[-1].endswith("it does not decode")
    assert counters.refused == {"damaged": 252}


def test_one_reason_does_not_hide_another(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    counters = Counters(logger, clock)
    counters.refuse(damaged(), "a")
    counters.refuse(MessageError("magic", "no feature"), "b")
    counters.refuse(damaged(), "c")
    assert caplog.messages == ["refused a: it does not decode", "refused b: no feature"]


def test_threads_lose_no_count(clock: Clock) -> None:
    counters = Counters(logger, clock)

    def work() -> None:
        for _ in range(2000):
            counters.count("received")
            counters.refuse(damaged(), "x")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters["received"] == 8000
    assert counters.refused == {"damaged": 8000}
