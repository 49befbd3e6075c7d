"""Deadlines, rates, watchdogs and drops: small rules, each with its clock."""

import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devit_iot.aggregator.deadline import MARGIN, SAMPLES, Deadline
from devit_iot.node import rate as rate_module
from devit_iot.node.rate import RateLimit
from devit_iot.node.watchdog import Watchdog, sd_notify
from devit_iot.service.counters import OTHER_CAMERAS, Drops


def test_the_deadline_is_its_ceiling_until_the_fleet_is_known() -> None:
    deadline = Deadline(0.1, 1.0)
    for _ in range(SAMPLES - 1):
        deadline.observe(0.01)
        assert deadline.seconds == 1.0
    deadline.observe(0.1)
    assert deadline.seconds == pytest.approx(MARGIN * 0.1)


@given(st.lists(st.floats(0, 10), min_size=SAMPLES, max_size=3 * SAMPLES))
def test_the_deadline_is_twice_the_longest_recent_spread(spreads: list[float]) -> None:
    deadline = Deadline(0.5, 4.0)
    for spread in spreads:
        deadline.observe(spread)
    assert deadline.seconds == min(4.0, max(0.5, 2 * max(spreads[-100:])))


def test_a_floor_above_the_ceiling_gives_way() -> None:
    deadline = Deadline(0.1, 0.05)
    for _ in range(SAMPLES):
        deadline.observe(0.0)
    assert deadline.seconds == 0.05


def test_a_rate_holds_for_each_camera() -> None:
    limit = RateLimit(4.0)
    allowed = [limit.allows("a", step / 16) for step in range(160)]  # 16 a second for 10 s
    assert sum(allowed) == 4 + 39  # a full bucket, then 4 a second
    assert limit.allows("b", 10.0)


def test_a_rate_below_one_still_lets_one_through() -> None:
    limit = RateLimit(0.5)
    assert [limit.allows("a", float(second)) for second in range(7)] == [True, False] * 3 + [True]


def test_the_cameras_of_a_rate_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_module, "MAX_CAMERAS", 2)
    limit = RateLimit(1.0)
    for camera in "abab":
        limit.allows(camera, 0.0)
    assert not limit.allows("a", 0.0)
    assert limit.allows("c", 0.0)  # in place of b, silent longest
    assert not limit.allows("a", 0.0)
    assert limit.allows("b", 0.0)


def test_drops_are_told_apart_up_to_64_cameras() -> None:
    drops = Drops()
    for camera in range(70):
        drops.count(str(camera), "overload")
        drops.count(str(camera), "age")
    drops.count("0", "age")
    assert drops.total == 141
    assert len(drops.by_camera) == 65
    assert drops.by_camera["0"] == {"overload": 1, "age": 2}
    assert drops.by_camera[OTHER_CAMERAS] == {"overload": 6, "age": 6}


def test_the_watchdog_barks_once_when_the_beat_stops() -> None:
    hung = threading.Semaphore(0)
    said: list[str] = []
    watchdog = Watchdog(0.2, hung.release, notify=said.append)
    with watchdog.watching():
        for _ in range(10):
            watchdog.beat()
            assert not hung.acquire(timeout=0.05)
        assert hung.acquire(timeout=20)
        assert not hung.acquire(timeout=0.5)
    assert said[0] == "READY=1"
    assert set(said[1:]) == {"WATCHDOG=1"}


def test_a_watchdog_that_is_not_needed_ends_quietly() -> None:
    hung = threading.Event()
    with Watchdog(60, hung.set, notify=lambda _state: None).watching():
        pass
    assert not hung.is_set()


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, abstract: bool
) -> None:
    address = f"@devit-test-{tmp_path.name}-{id(tmp_path)}" if abstract else str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0") if abstract else address)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        sd_notify("READY=1")
        assert manager.recv(100) == b"READY=1"
    monkeypatch.delenv("NOTIFY_SOCKET")
    sd_notify("READY=1")  # nobody listens
