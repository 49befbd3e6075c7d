"""Temperature and throttling, from made-up sysfs trees as boards have them."""

from pathlib import Path

import pytest

from devit_iot.bundle.reading import Bundle
from devit_iot.node.sensors import Reading, Sensors
from devit_iot.transport.memory import MemoryBroker
from tests.support.running import make_node, node_status, running


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")


def zone(root: Path, number: int, kind: str, temp: str) -> None:
    folder = f"class/thermal/thermal_zone{number}"
    write(root, **{f"{folder}/type": kind, f"{folder}/temp": temp})


def test_a_machine_without_sensors(tmp_path: Path) -> None:
    assert Sensors(tmp_path).read() == Reading(None, None)


def test_a_raspberry_pi(tmp_path: Path) -> None:
    zone(tmp_path, 0, "cpu-thermal", "61540")
    write(tmp_path, **{"class/hwmon/hwmon1/name": "rpi_volt"})
    write(tmp_path, **{"class/hwmon/hwmon1/in0_lcrit_alarm": "0"})
    assert Sensors(tmp_path).read() == Reading(61.5, throttled=False)
    write(tmp_path, **{"class/hwmon/hwmon1/in0_lcrit_alarm": "1"})
    assert Sensors(tmp_path).read() == Reading(61.5, throttled=True)


@pytest.mark.parametrize(
    ("bits", "throttled"),
    [("0", False), ("50000", False), ("50005", True), ("8", True), ("nonsense", None)],
)
def test_the_firmware_of_a_raspberry_pi(
    tmp_path: Path, *, bits: str, throttled: bool | None
) -> None:
    write(tmp_path, **{"devices/platform/soc/soc:firmware/get_throttled": bits})
    assert Sensors(tmp_path).read().throttled is throttled


def test_the_hottest_zone_of_the_chip_counts(tmp_path: Path) -> None:
    zone(tmp_path, 0, "acpitz", "90000")
    zone(tmp_path, 1, "cpu-thermal", "48000")
    zone(tmp_path, 2, "soc0-thermal", "51250")
    assert Sensors(tmp_path).read().temperature_c == 51.2


def test_any_zone_counts_where_none_is_of_the_chip(tmp_path: Path) -> None:
    zone(tmp_path, 0, "acpitz", "27800")
    assert Sensors(tmp_path).read().temperature_c == 27.8


@pytest.mark.parametrize("broken", ["-274000", "32767000", "", "warm"])
def test_a_sensor_that_is_off_does_not_count(tmp_path: Path, broken: str) -> None:
    zone(tmp_path, 0, "cpu-thermal", broken)
    assert Sensors(tmp_path).read().temperature_c is None
    zone(tmp_path, 1, "soc-thermal", "40000")
    assert Sensors(tmp_path).read().temperature_c == 40.0


def test_sensors_are_read_every_15_seconds(tmp_path: Path) -> None:
    now = 100.0
    zone(tmp_path, 0, "cpu-thermal", "40000")
    sensors = Sensors(tmp_path, clock=lambda: now)
    assert sensors.read().temperature_c == 40.0
    zone(tmp_path, 0, "cpu-thermal", "41000")
    now = 114.9
    assert sensors.read().temperature_c == 40.0
    now = 115.0
    assert sensors.read().temperature_c == 41.0


def test_a_node_says_it(tmp_path: Path, bundle: Bundle) -> None:
    zone(tmp_path, 0, "cpu-thermal", "70100")
    write(tmp_path, **{"devices/platform/soc/soc:firmware/get_throttled": "4"})
    broker = MemoryBroker()
    with running(make_node(broker, bundle, 0, sensors=Sensors(tmp_path))):
        pass
    status = node_status(broker)
    assert (status.temperature_c, status.throttled) == (70.1, True)
