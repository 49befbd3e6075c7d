"""Whether the clock follows a time server is the kernel's to say."""

import ctypes

import pytest

from devit_iot.trust import clock


def test_the_kernel_knows() -> None:
    assert 0 <= clock.maximum_error_us() <= clock.UNSYNCHRONIZED_US


@pytest.mark.parametrize(
    ("error_us", "follows"), [(0, True), (50_000, True), (15_999_999, True), (16_000_000, False)]
)
def test_a_clock_that_nobody_sets_says_nothing(
    monkeypatch: pytest.MonkeyPatch, *, error_us: int, follows: bool
) -> None:
    monkeypatch.setattr(clock, "maximum_error_us", lambda: error_us)
    assert clock.follows_time_server() == follows


@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_another_libc_means_no_clock(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def load(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert not clock.follows_time_server()
