"""Energy from made-up sysfs trees and firmware, as machines have them."""

from pathlib import Path

import pytest

from devit_iot.bundle.reading import Bundle
from devit_iot.energy.meter import Energy, EnergyMeter
from devit_iot.transport.memory import MemoryBroker
from tests.energy.machines import FIRMWARE, zone
from tests.support.fleets import image_file, wait_until
from tests.support.running import labels, make_aggregator, make_node, node_status, running


def meter(root: Path, *, watts: float = 0.0, firmware: str = "") -> EnergyMeter:
    return EnergyMeter(watts, root, firmware=lambda: firmware)


def test_a_machine_without_a_meter(tmp_path: Path) -> None:
    assert meter(tmp_path).read(10.0) == Energy(0.0, "")


def test_a_power_chip_can_be_asked_anew(tmp_path: Path) -> None:
    now = 100.0
    measured = EnergyMeter(0.0, tmp_path, firmware=lambda: FIRMWARE, clock=lambda: now)
    now = 101.0
    assert measured.read(0.0).joules == 0.0
    assert measured.read(0.0, fresh=True).joules == pytest.approx(5.8)


def test_stated_watts_count_while_it_computes(tmp_path: Path) -> None:
    assert meter(tmp_path, watts=7.5).read(10.0) == Energy(75.0, "stated")


def test_the_packages_are_added_and_their_cores_are_not(tmp_path: Path) -> None:
    packages = [zone(tmp_path, f"intel-rapl:{n}", f"package-{n}", "1000000") for n in range(2)]
    core = zone(tmp_path, "intel-rapl:0:0", "core", "1000000")
    measured = meter(tmp_path, watts=7.5)
    packages[0].write_text("3000000\n")
    packages[1].write_text("1500000\n")
    core.write_text("2900000\n")
    assert measured.read(1.0) == Energy(2.5, "rapl")
    assert measured.read(1.0) == Energy(2.5, "rapl")


def test_the_whole_platform_is_better_than_the_packages(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", "package-0", "0")
    platform = zone(tmp_path, "intel-rapl:1", "psys", "0")
    measured = meter(tmp_path)
    package.write_text("2000000")
    platform.write_text("5000000")
    assert measured.read(1.0).joules == 5.0


def test_a_counter_starts_again_after_its_range(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", "9000000", largest=10_000_000)
    measured = meter(tmp_path)
    counter.write_text("500000")
    assert measured.read(0.0).joules == 1.5
    counter.write_text("nonsense")
    assert measured.read(0.0).joules == 1.5
    counter.write_text("700000")
    assert measured.read(0.0).joules == pytest.approx(1.7)


def test_a_counter_that_nobody_may_read_is_no_meter(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", "")
    assert meter(tmp_path, watts=5.0).read(2.0) == Energy(10.0, "stated")


def test_a_power_chip_is_sampled(tmp_path: Path) -> None:
    now, said = 100.0, FIRMWARE
    measured = EnergyMeter(0.0, tmp_path, firmware=lambda: said, clock=lambda: now)
    now = 114.9
    assert measured.read(1.0) == Energy(0.0, "pmic")
    now, said = 120.0, FIRMWARE.replace("=2.5", "=4.5")
    assert measured.read(1.0).joules == pytest.approx(20 * (5.8 + 7.8) / 2)
    now, said = 140.0, ""  # the firmware is busy: what it said last holds
    assert measured.read(1.0).joules == pytest.approx(136 + 20 * 7.8)


@pytest.mark.parametrize(
    "said", ["", "error=1 error_msg=Command not registered", "X_A current(0)=."]
)
def test_a_firmware_without_rails_is_no_meter(tmp_path: Path, said: str) -> None:
    assert meter(tmp_path, firmware=said).read(1.0) == Energy(0.0, "")


def test_a_node_says_it(tmp_path: Path, bundle: Bundle) -> None:
    broker = MemoryBroker()
    node = make_node(broker, bundle, 0, energy=meter(tmp_path, watts=1000.0))
    with running(node, make_aggregator(broker, bundle)):
        wait_until(lambda: len(broker.retained) == 2)
        broker.publish("cameras/door/image", image_file(1))
        wait_until(lambda: labels(broker))
    status = node_status(broker)
    took = sum(node.durations[stage].histogram.total_s for stage in ("decode", "compute"))
    assert status.energy_from == "stated"
    assert status.energy_j == pytest.approx(1000 * took, abs=1e-3)
