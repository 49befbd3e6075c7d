"""Joules of a stretch of work, by made-up machines."""

from pathlib import Path

import pytest

from devit_iot.energy.meter import Energy, EnergyMeter
from devit_iot.energy.stretch import Stretch
from tests.energy.machines import FIRMWARE, zone


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def test_only_what_was_taken_meanwhile_counts(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", "1000000")
    stretch = Stretch(EnergyMeter(root=tmp_path, firmware=lambda: ""))
    counter.write_text("4000000")
    done = []
    for item in stretch.over("ab"):
        done.append(item)
        counter.write_text(f"{5 + len(done)}000000")
    counter.write_text("9000000")
    assert done == ["a", "b"]
    assert stretch.energy == Energy(3.0, "rapl")
    list(stretch.over("c"))
    assert stretch.energy.joules == 3.0


def test_a_power_chip_is_asked_every_second_and_at_both_ends(tmp_path: Path) -> None:
    clock, asked = Clock(), []

    def firmware() -> str:
        asked.append(clock())
        return FIRMWARE

    stretch = Stretch(EnergyMeter(root=tmp_path, firmware=firmware, clock=clock), clock)
    asked.clear()
    for _ in stretch.over(range(5)):
        clock.now += 0.5
    assert asked == [50.0, 51.0, 52.0, 52.5]
    assert stretch.energy.source == "pmic"
    assert stretch.energy.joules == pytest.approx(5.8 * 2.5)


def test_stated_watts_count_for_the_whole_stretch(tmp_path: Path) -> None:
    clock = Clock()
    stretch = Stretch(EnergyMeter(6.0, tmp_path, firmware=lambda: "", clock=clock), clock)
    for _ in stretch.over(range(4)):
        clock.now += 0.25
    assert stretch.energy == Energy(6.0, "stated")


def test_without_a_meter_there_are_no_joules(tmp_path: Path) -> None:
    stretch = Stretch(EnergyMeter(root=tmp_path, firmware=lambda: ""))
    assert list(stretch.over(range(2))) == [0, 1]
    assert stretch.energy == Energy(0.0, "")
