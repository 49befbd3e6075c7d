"""How many joules a board took: measured where it has a meter, else from its stated power."""

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from devit_iot.programs import system_says
from devit_iot.protocol.status import EnergySource
from devit_iot.sysfs import read_number, read_text

_EVERY_S = 15.0
"""The firmware of a Raspberry Pi is asked so often: an answer takes a process of its own."""

MEASURED: tuple[EnergySource, ...] = ("rapl", "pmic")
"""The sources that are meters."""

NO_METER = (
    "energy: no meter that may be read here (RAPL, or the power chip of a Raspberry Pi 5), so CPU "
    "time only; --watts states the power"
)
"""What a command says where nothing tells it joules."""

_ASK_S = 2.0  # a firmware that does not answer must not keep images waiting
_RAIL = re.compile(r"^\s*(\w+)_([AV]) (?:current|volt)\(\d+\)=([0-9.]+)[AV]\s*$", re.MULTILINE)


class Energy(NamedTuple):
    """What a board took since the meter began.

    Attributes:
        joules: energy; 0 without a source.
        source: what it was read from.
    """

    joules: float
    source: EnergySource


def ask_firmware() -> str:
    """Voltages and currents of a Raspberry Pi 5's power chip; empty on another machine."""
    return system_says("vcgencmd", "pmic_read_adc", timeout_s=_ASK_S)


class EnergyMeter:
    """Adds up what a board takes, from the best source that it has.

    The sources, the best one first: the kernel's energy counters of the whole platform or of all
    processor packages (RAPL, readable by root unless the administrator allows more); the rails of
    a Raspberry Pi 5's power chip, sampled; stated watts times the time in which images were
    decoded and computed. The first two count all that the machine does, also while it is idle.

    Args:
        watts: stated power of the board while it computes; 0: unknown.
        root: sysfs.
        firmware: what the power chip says, see :func:`ask_firmware`.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        watts: float = 0.0,
        root: Path = Path("/sys"),
        *,
        firmware: Callable[[], str] = ask_firmware,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watts = watts
        self._firmware = firmware
        self._clock = clock
        self._lock = threading.Lock()
        self._joules = 0.0
        self._zones = [_Zone.at(folder) for folder in _power_zones(root)]
        if not self._zones or any(zone.last_uj is None for zone in self._zones):
            self._zones = []
        self._sampled_at = clock()
        self._sampled_w = None if self._zones else _rails_w(firmware())

    @property
    def source(self) -> EnergySource:
        """What tells the joules; empty if nothing does. It stays the same, and is not asked."""
        if self._zones:
            return "rapl"
        if self._sampled_w is not None:
            return "pmic"
        return "stated" if self._watts > 0 else ""

    def read(self, busy_s: float, *, fresh: bool = False) -> Energy:
        """Energy since the start; on any thread.

        Args:
            busy_s: seconds in which images were decoded and computed since then.
            fresh: whether a power chip is asked although it was asked a moment ago.
        """
        with self._lock:
            return self._read(busy_s, 0.0 if fresh else _EVERY_S)

    def _read(self, busy_s: float, every_s: float) -> Energy:
        if self._zones:
            self._joules += sum(zone.step_uj() for zone in self._zones) / 1e6
        elif self._sampled_w is not None:
            self._sample(self._sampled_w, every_s)
        elif self._watts > 0:
            self._joules = self._watts * busy_s
        return Energy(self._joules, self.source)

    def _sample(self, before_w: float, every_s: float) -> None:
        now = self._clock()
        passed_s = now - self._sampled_at
        if passed_s < every_s:
            return
        now_w = _rails_w(self._firmware())
        self._joules += passed_s * (before_w if now_w is None else (before_w + now_w) / 2)
        self._sampled_at = now
        self._sampled_w = before_w if now_w is None else now_w


class _Zone:
    """One counter of microjoules, which starts again at 0 after its range."""

    def __init__(self, counter: Path, range_uj: int, last_uj: int | None) -> None:
        self._counter = counter
        self._range_uj = range_uj
        self.last_uj = last_uj

    @classmethod
    def at(cls, folder: Path) -> "_Zone":
        counter = folder / "energy_uj"
        return cls(counter, read_number(folder / "max_energy_range_uj") or 0, read_number(counter))

    def step_uj(self) -> int:
        """Microjoules since the last call; 0 if the counter cannot be read now."""
        now_uj = read_number(self._counter)
        if now_uj is None or self.last_uj is None:
            return 0
        step = now_uj - self.last_uj
        self.last_uj = now_uj
        return step if step >= 0 else max(0, step + self._range_uj)


def _power_zones(root: Path) -> list[Path]:
    """The zone of the whole platform, else those of the processor packages."""
    folders = sorted((root / "class/powercap").glob("intel-rapl:*"))
    top = [folder for folder in folders if folder.name.count(":") == 1]  # the rest is in them
    platform = [folder for folder in top if read_text(folder / "name") == "psys"]
    return platform or [f for f in top if (read_text(f / "name") or "").startswith("package")]


def _rails_w(text: str) -> float | None:
    """Sum over the rails whose voltage and current are both said, watts; None if none is."""
    said: dict[str, dict[str, float]] = {}
    for rail, unit, number in _RAIL.findall(text):
        try:
            said.setdefault(rail, {})[unit] = float(number)
        except ValueError:
            continue
    powers = [of["A"] * of["V"] for of in said.values() if of.keys() == {"A", "V"}]
    return sum(powers) if powers else None
