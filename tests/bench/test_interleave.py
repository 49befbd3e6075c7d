"""Contenders run in turn, each measured call with one before it that is not measured."""

from collections.abc import Callable

import pytest

from devit_iot.bench.interleave import interleave, summary, timed


def recorder(log: list[str], name: str, seconds: float) -> Callable[[], float]:
    def run() -> float:
        log.append(name)
        return seconds

    return run


def test_contenders_take_turns() -> None:
    log: list[str] = []
    contenders = {name: recorder(log, name, 0.01) for name in "ab"}
    times = interleave(contenders, seconds=0.0, least=2, most=9)
    assert "".join(log) == "ab" + 2 * "aabb"
    assert [timing.rounds for timing in times.values()] == [2, 2]


def test_a_slow_call_counts_at_once() -> None:
    log: list[str] = []
    contenders = {"slow": recorder(log, "s", 0.5), "fast": recorder(log, "f", 0.01)}
    times = interleave(contenders, seconds=60.0, least=1, most=3)
    assert "".join(log) == "sf" + 3 * "sff"
    assert times["slow"].median == pytest.approx(500)


def test_the_summary_is_in_milliseconds() -> None:
    found = summary([0.003, 0.001, 0.002])
    assert found == pytest.approx((2.0, 2.8, 1.0, 3))


def test_a_function_becomes_a_contender() -> None:
    log: list[int] = []
    assert timed(lambda: log.append(1))() >= 0
    assert log == [1]
