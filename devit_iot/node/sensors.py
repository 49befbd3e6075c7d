"""What a board feels: its temperature, and whether it slows itself down. From Linux's sysfs."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from devit_iot.sysfs import read_number, read_text

_EVERY_S = 15.0
"""A temperature that is read more often would make an idle node publish a status every second."""

_OF_THE_CHIP = ("cpu", "soc", "pkg")  # in a thermal zone's type: cpu-thermal, x86_pkg_temp
_SANE_C = (-60.0, 200.0)  # a sensor that is off reads as -274 or as 32767
_THROTTLED_NOW = 0xF  # under-voltage, frequency capped, throttled, soft temperature limit


class Reading(NamedTuple):
    """What the sensors said; None where the board has none that we know.

    Attributes:
        temperature_c: temperature of the chip, degrees Celsius.
        throttled: whether heat or a weak power supply slows the board down now.
    """

    temperature_c: float | None
    throttled: bool | None


class Sensors:
    """Reads at most every 15 s, a few small files without waiting.

    The temperature is the hottest thermal zone named after CPU, SoC or package, or of all zones if
    none is. Only Raspberry Pis say whether they are throttled: by their firmware's bits, or by the
    kernel's voltage monitor.

    Args:
        root: sysfs.
        clock: monotonic seconds.
    """

    def __init__(
        self, root: Path = Path("/sys"), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        zones = list(root.glob("class/thermal/thermal_zone*"))
        of_the_chip = [zone for zone in zones if _names_the_chip(zone)]
        self._zones = of_the_chip or zones
        self._firmware = list(root.glob("devices/platform/soc*/*firmware/get_throttled"))
        self._voltage = [
            monitor / "in0_lcrit_alarm"
            for monitor in root.glob("class/hwmon/hwmon*")
            if read_text(monitor / "name") == "rpi_volt"
        ]
        self._read_at: float | None = None
        self._reading = Reading(None, None)

    def read(self) -> Reading:
        """The latest reading, at most 15 s old."""
        now = self._clock()
        if self._read_at is None or now - self._read_at >= _EVERY_S:
            self._read_at = now
            self._reading = Reading(self._temperature_c(), self._throttled())
        return self._reading

    def _temperature_c(self) -> float | None:
        read = (read_number(zone / "temp") for zone in self._zones)
        celsius = [milli / 1e3 for milli in read if milli is not None]
        lowest, highest = _SANE_C
        return max((round(c, 1) for c in celsius if lowest < c < highest), default=None)

    def _throttled(self) -> bool | None:
        bits = [read_number(file, 16) for file in self._firmware]
        alarms = [read_number(file) for file in self._voltage]
        said = [b & _THROTTLED_NOW for b in bits if b is not None]
        said += [alarm for alarm in alarms if alarm is not None]
        return any(said) if said else None


def _names_the_chip(zone: Path) -> bool:
    return any(word in (read_text(zone / "type") or "").lower() for word in _OF_THE_CHIP)
