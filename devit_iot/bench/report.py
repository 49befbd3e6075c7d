"""What a benchmark found, for machines and as tables."""

from collections.abc import Sequence

import msgspec

from devit_iot.bench.peers import OURS
from devit_iot.energy.meter import NO_METER
from devit_iot.protocol.status import EnergySource


class EngineResult(msgspec.Struct, frozen=True):
    """One engine with one network.

    Attributes:
        engine: the engine's name.
        version: version of the engine's package.
        detail: what it chose, for people; may be empty.
        ms: median time of one image.
        ms_min: shortest time of one image.
        cpu_ms: mean CPU time of its process for one image, all threads together.
        rounds: images measured.
        gflops: billions of multiplies and adds per second, at the median.
        share: fraction of the float32 FMA peak of as many cores as there are threads; int8 may
            exceed 1.
        resident_mb: memory of its process, after the run, in millions of bytes.
        cold_start_s: time from starting a process to its first feature, median of several starts.
        error: relative L2 distance of its feature from the float64 reference;
            null in JSON if that is no number.
        sound: whether that error is what the dtype allows.
        energy_j: what the machine took for one image while only this engine ran, joules, all its
            programs together; by stated watts, the median time times those; 0 without a source.
    """

    engine: str
    version: str
    detail: str
    ms: float
    ms_min: float
    cpu_ms: float
    rounds: int
    gflops: float
    share: float
    resident_mb: float
    cold_start_s: float
    error: float
    sound: bool
    energy_j: float


class NetworkResult(msgspec.Struct, frozen=True):
    """All engines with one network.

    Attributes:
        name: M1 to M5, or the bundle's name and part.
        what: the network in words.
        macs: multiply-accumulates of one image.
        peak_gflops: measured FMA peak of one core, float32, before or after the rounds.
        engines: engines that ran, ours first.
        missing: engines that did not run, and why.
        fastest_peer: the fastest sound engine beside ours; empty if none ran.
        speedup: median time of the fastest peer over ours; 0 without a peer.
    """

    name: str
    what: str
    macs: int
    peak_gflops: float
    engines: tuple[EngineResult, ...]
    missing: dict[str, str]
    fastest_peer: str
    speedup: float


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured.

    Attributes:
        energy_from: source of the joules, as in a node's status; empty: there is none.
    """

    processor: str
    isa: str
    cores: int
    load: float
    energy_from: EnergySource = ""


class BenchReport(msgspec.Struct, frozen=True):
    """What ``devit bench --json`` prints."""

    machine: Machine
    threads: int
    dtype: str
    networks: tuple[NetworkResult, ...]


HEAD = (
    "engine", "ms", "least ms", "CPU ms", "GFLOP/s", "of peak", "memory MB", "cold start s",
    "error",
)  # fmt: skip


def text(report: BenchReport) -> str:
    """The report for people, with tables in Markdown."""
    machine = report.machine
    head = (
        f"{machine.processor}, {machine.isa}, {machine.cores} cores, load {machine.load:.1f}; "
        f"{report.dtype}, {_count(report.threads, 'thread')}"
    )
    networks = [_network(result, machine.energy_from) for result in report.networks]
    return "\n\n".join([head, *networks, *([] if machine.energy_from else [NO_METER])])


def _network(result: NetworkResult, energy_from: EnergySource) -> str:
    size, peak = result.macs / 1e6, result.peak_gflops
    lines = [
        f"{result.name}, {result.what}: {size:.0f} MMACs, FMA peak of one core {peak:.1f} GFLOP/s",
        "",
        *_table(_rows(result.engines, energy_from)),
        "",
    ]
    if result.fastest_peer:
        lines.append(
            f"{OURS} is {result.speedup:.2f} times as fast as the fastest peer, "
            f"{result.fastest_peer}"
        )
    lines += [f"not measured: {name}, {reason}" for name, reason in result.missing.items()]
    return "\n".join(lines).rstrip()


def _rows(engines: Sequence[EngineResult], energy_from: EnergySource) -> list[tuple[str, ...]]:
    """The table of a network; the last column is there where something tells joules."""
    rows = [HEAD, *map(_row, engines)]
    if not energy_from:
        return rows
    joules = [f"J, {energy_from}", *(f"{engine.energy_j:.2g}" for engine in engines)]
    return [(*row, cell) for row, cell in zip(rows, joules, strict=True)]


def _row(engine: EngineResult) -> tuple[str, ...]:
    name = " ".join(f"{engine.engine} {engine.version}".split())
    return (
        f"{name} ({engine.detail})" if engine.detail else name,
        digits(engine.ms),
        digits(engine.ms_min),
        digits(engine.cpu_ms),
        f"{engine.gflops:.1f}",
        f"{engine.share:.0%}",
        f"{engine.resident_mb:.0f}",
        f"{engine.cold_start_s:.2f}",
        f"{engine.error:.1e}" + ("" if engine.sound else " WRONG"),
    )


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns aligned, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        f"| {' | '.join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])} |"
        for row in rows
    ]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return [lines[0], f"| {' | '.join(rule)} |", *lines[1:]]


def digits(value: float) -> str:
    """Three significant digits."""
    return f"{value:#.3g}" if value < 100 else f"{value:.0f}"  # noqa: PLR2004


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
