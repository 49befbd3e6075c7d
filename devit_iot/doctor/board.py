"""The machine: CPU and kernels, memory, temperature, power, clock."""

import os
import platform
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args

from devit_iot.bundle.storage import Dtype
from devit_iot.config.config import Config
from devit_iot.doctor.finding import Finding, bad, ok, warn
from devit_iot.node.sensors import Sensors
from devit_iot.programs import missing_core, system_says
from devit_iot.service.status import EARLIEST

_WARM_C, _HOT_C = 75.0, 90.0  # a Raspberry Pi slows down from 80, and does not pass 85
_ANSWER_S = 5.0
_POWER = "use the board's own power supply and a short, thick cable"
_COOL = "cool the board: a heat sink, a fan, more air"
_BITS = {  # bits of vcgencmd get_throttled; 16 higher is the same since the start
    0: ("under-voltage", _POWER),
    1: ("its frequency is capped", _COOL),
    2: ("throttled", _COOL),
    3: ("at its soft temperature limit", _COOL),
}


class Machine(NamedTuple):
    """Where the facts of the machine are.

    Attributes:
        proc: procfs.
        sys: sysfs.
        programs: folders to look for programs in, as in PATH.
    """

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    programs: str | None = None


def check_board(config: Config, machine: Machine) -> Iterator[Finding]:
    """Everything that needs neither a bundle nor a broker."""
    yield from check_cpu(config, machine)
    yield check_memory(config, machine)
    yield from check_heat(machine)
    yield check_clock(machine)


def check_cpu(config: Config, machine: Machine) -> Iterator[Finding]:
    """What the CPU has, which kernels were chosen for it, and what it reaches."""
    try:
        from devit_iot import _core
    except ImportError as error:
        yield bad(
            "kernels",
            f"the C++ module does not load ({error})",
            missing_core(),
        )
        return
    features = sorted(name for name, has in _core.cpu_features().items() if has)
    cores = len(os.sched_getaffinity(0))
    yield ok(
        "cpu",
        f"{_model(machine)}, {platform.machine()}, {cores} cores, "
        f"has {', '.join(features) or 'no instructions that we use'}",
    )
    try:
        isa = _core.select_isa(config.node.isa)
    except ValueError as error:
        yield bad("kernels", str(error), "leave out --isa and DEVIT_ISA: the best one is chosen")
        return
    text = f"{isa}, for {', '.join(get_args(Dtype))}; there are {', '.join(_core.isas())}"
    if isa == "scalar":
        remedy = (
            "without --isa and DEVIT_ISA the best one is chosen; Arm boards need a 64-bit system"
        )
        yield warn("kernels", text, remedy)
    else:
        yield ok("kernels", text)
    yield ok("speed", f"{_core.fma_peak(isa):.1f} GFLOP/s of multiply-adds on one core")


def check_memory(config: Config, machine: Machine) -> Finding:
    """Whether what the node counts on is there."""
    facts = dict(re.findall(r"^(\w+): +(\d+) kB$", _read(machine.proc / "meminfo"), re.MULTILINE))
    if "MemTotal" not in facts or "MemAvailable" not in facts:
        return warn("memory", "the system does not say", "look at it with free -m")
    total, free = (int(facts[key]) // 1024 for key in ("MemTotal", "MemAvailable"))
    text = f"{free} MiB of {total} MiB are free"
    wanted = config.node.memory_mib
    if total < wanted:
        return warn(
            "memory",
            f"{text}, and node.memory_mib says {wanted}",
            "give the board with --board, or lower node.memory_mib",
        )
    return ok("memory", text)


def check_heat(machine: Machine) -> Iterator[Finding]:
    """Temperature, and whether the board slows itself down."""
    reading = Sensors(machine.sys).read()
    if reading.temperature_c is None:
        yield ok("temperature", "no sensor")
    elif reading.temperature_c >= _HOT_C:
        yield bad("temperature", f"{reading.temperature_c:.0f} °C", _COOL)
    elif reading.temperature_c >= _WARM_C:
        yield warn("temperature", f"{reading.temperature_c:.0f} °C", _COOL)
    else:
        yield ok("temperature", f"{reading.temperature_c:.0f} °C")
    bits = _throttled(machine)
    if bits is not None:
        yield _power(bits)
    elif reading.throttled is None:
        yield ok("power", "the board does not say whether it is throttled")
    elif reading.throttled:
        yield bad("power", "the board slows itself down", f"{_POWER}; {_COOL}")
    else:
        yield ok("power", "not throttled")


def check_clock(machine: Machine) -> Finding:
    """Whether it can be right: certificates are judged by it, and logs are read by it."""
    remedy = "let it follow a time server: sudo timedatectl set-ntp true"
    now = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    if time.time() < EARLIEST:
        return bad("clock", f"{now}: before this software", remedy)
    synchronised = _said(machine, "timedatectl", "show", "--property=NTPSynchronized", "--value")
    if synchronised == "yes":
        return ok("clock", f"{now}, follows a time server")
    if synchronised == "no":
        return warn("clock", f"{now}, follows no time server", remedy)
    return ok("clock", f"{now}; nothing here says whether it follows a time server")


def _power(bits: int) -> Finding:
    now = [(text, remedy) for bit, (text, remedy) in _BITS.items() if bits >> bit & 1]
    before = [(text, remedy) for bit, (text, remedy) in _BITS.items() if bits >> bit + 16 & 1]
    if now:
        return bad("power", "now: " + ", ".join(text for text, _ in now), now[0][1])
    if before:
        text = "since the start: " + ", ".join(text for text, _ in before)
        return warn("power", text, before[0][1])
    return ok("power", "never throttled since the start")


def _throttled(machine: Machine) -> int | None:
    """The bits of a Raspberry Pi's firmware."""
    said = _said(machine, "vcgencmd", "get_throttled")
    found = re.fullmatch(r"throttled=(0x[0-9a-fA-F]+)", said)
    return int(found[1], 16) if found else None


def _model(machine: Machine) -> str:
    """The name of the board by its device tree, else the name of its CPU."""
    board = _read(machine.sys / "firmware/devicetree/base/model").strip("\0 \n")
    if board:
        return board
    found = re.search(r"^model name\s*: (.+)$", _read(machine.proc / "cpuinfo"), re.MULTILINE)
    return found[1] if found else "unknown CPU"


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _said(machine: Machine, name: str, *arguments: str) -> str:
    return system_says(name, *arguments, timeout_s=_ANSWER_S, path=machine.programs)
