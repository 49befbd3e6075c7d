"""The latency of a teacher on one core against its fleet's: slowest part, transport and fusion.

python benchmarks/latency.py [--case RECIPE ...] [--fleet BUNDLE --teacher BUNDLE ...] [--json]

See benchmarks/README.md for what is measured and how.
"""

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import msgspec
import numpy as np
from cases import Case, bundle_case, recipe_case, stand_in_fleet
from teachers import load_teacher
from threadpoolctl import threadpool_limits
from transport import Transport, image_file, measure

from devit_iot import _core
from devit_iot.bench.interleave import Timing, interleave, timed
from devit_iot.bench.models import random_image
from devit_iot.bundle.spec import SubVitSpec, macs
from devit_iot.cli.common import one_line_errors, set_up_logging
from devit_iot.demo.processes import BrokerKind, find_broker
from devit_iot.engine.base import Engine
from devit_iot.engine.fusion import Fusion
from devit_iot.errors import BrokerError, ConfigError

RECIPES = ("imagenet-vit-l", "imagenet-deit", "cifar100-cct", "cifar100-small", "flowers-deit")
"""``cars`` has the geometries of imagenet-deit."""
_LEAST, _MOST = 5, 300
_FUSION_SECONDS = 1.0
_BUSY_MS = 5.0


class Options(NamedTuple):
    """The options of a run; they hold for every case."""

    seconds: float
    frames: int
    broker: BrokerKind
    onnx: bool


class Contender(NamedTuple):
    """One network on one thread.

    Attributes:
        mmacs: millions of multiply-accumulates of one image.
        share: fraction of the core's peak rate of multiply-adds.
    """

    mmacs: float
    ms: Timing
    share: float


class Result(NamedTuple):
    """The latencies of one case, in milliseconds.

    Attributes:
        peak_gflops: the core's peak rate while this case ran.
        teacher_onnx: None if left out.
        fleet_ms: the slowest part, the transport and the fusion together.
        ratio_onnx: median ``teacher_onnx`` over median ``fleet_ms``; None if ONNX was left out.
        ratio_native: median ``teacher_native`` over median ``fleet_ms``.
        errors: relative errors of the teacher's contenders against float64; empty if not compared.
    """

    case: str
    detail: str
    peak_gflops: float
    teacher_native: Contender
    teacher_onnx: Contender | None
    parts: list[Contender]
    transport: Transport
    fusion: Timing
    fleet_ms: float
    ratio_onnx: float | None
    ratio_native: float
    errors: dict[str, float]


def run_case(case: Case, options: Options) -> Result:
    """Measure networks, fusion and transport, one after the other: none disturbs another."""
    _say(f"{case.name}: loading")
    teacher = load_teacher(case, with_onnx=options.onnx)
    engines = case.part_engines()
    runs: dict[str, Callable[[], object]] = {"native": teacher.native}
    if teacher.onnx is not None:
        runs["onnx"] = teacher.onnx
    runs |= {f"part {i}": _runner(engine, spec) for i, (spec, engine) in enumerate(engines)}
    _say(f"{case.name}: timing {len(runs)} networks, about {options.seconds:g} s")
    peak = _core.fma_peak()
    contenders = {name: timed(run) for name, run in runs.items()}
    times = interleave(contenders, seconds=options.seconds, least=_LEAST, most=_MOST)
    peak = max(peak, _core.fma_peak())
    with tempfile.TemporaryDirectory(prefix="devit-latency-") as folder:
        dims = tuple(part.feature_dim for part in case.parts)
        fleet = stand_in_fleet(Path(folder) / "bundle", dims, case.classes)
        fused = _time_fusion(Fusion(fleet))
        _say(f"{case.name}: {options.frames} images through {options.broker}")
        payload = image_file(case.teacher.image_size)
        transport = measure(fleet, payload, broker=options.broker, frames=options.frames)
    if transport.fusing > fused.median + _BUSY_MS:
        _say(
            f"{case.name}: WARNING: the aggregator fused in {transport.fusing:.1f} ms, alone it "
            f"takes {fused.median:.1f}: requests queued, and the transport is too long; leave the "
            "machine to this benchmark, with OMP_NUM_THREADS=1"
        )

    def contender(name: str, spec: SubVitSpec) -> Contender:
        timing = times[name]
        rate = 2e-6 * macs(spec) / timing.median
        return Contender(macs(spec) / 1e6, timing, rate / peak)

    native = contender("native", case.teacher)
    onnx = contender("onnx", case.teacher) if teacher.onnx is not None else None
    parts = [contender(f"part {i}", spec) for i, (spec, _) in enumerate(engines)]
    total = _slowest(parts).ms.median + transport.transport + fused.median
    return Result(
        case=case.name,
        detail=teacher.detail,
        peak_gflops=peak,
        teacher_native=native,
        teacher_onnx=onnx,
        parts=parts,
        transport=transport,
        fusion=fused,
        fleet_ms=total,
        ratio_onnx=onnx.ms.median / total if onnx else None,
        ratio_native=native.ms.median / total,
        errors=teacher.errors,
    )


def _runner(engine: Engine, spec: SubVitSpec) -> Callable[[], object]:
    image = random_image(spec)
    return lambda: engine.features(image)


def _time_fusion(fusion: Fusion) -> Timing:
    """What the aggregator does with a request's features: scores, and the best five classes."""
    rng = np.random.default_rng(0)
    features = {
        part: rng.standard_normal(dim, np.float32) for part, dim in enumerate(fusion.feature_dims)
    }
    run = {"fusion": timed(lambda: fusion.rank(fusion.logits(features)))}
    return interleave(run, seconds=_FUSION_SECONDS, least=_LEAST, most=_MOST)["fusion"]


def _slowest(parts: Sequence[Contender]) -> Contender:
    return max(parts, key=lambda part: part.ms.median)


HEAD = (
    "case", "teacher MMACs", "part MMACs", "teacher native ms", "teacher ORT ms",
    "slowest part ms", "transport ms", "fusion ms", "ratio vs ORT", "ratio vs native",
)  # fmt: skip


def table(results: Sequence[Result]) -> str:
    """In Markdown; times are ``median / 90th percentile (share of the peak)``."""
    rows = [HEAD, tuple("---" for _ in HEAD), *(_row(result) for result in results)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(result: Result) -> tuple[str, ...]:
    part, ratio = _slowest(result.parts), result.ratio_onnx
    return (
        result.case,
        f"{result.teacher_native.mmacs:.0f}",
        f"{part.mmacs:.0f}",
        _cell(result.teacher_native),
        "-" if result.teacher_onnx is None else _cell(result.teacher_onnx),
        _cell(part),
        f"{result.transport.transport:.2f}",
        f"{result.fusion.median:.3f}",
        "-" if ratio is None else f"{ratio:.2f}",
        f"{result.ratio_native:.2f}",
    )


def _cell(contender: Contender) -> str:
    digits = 1 if contender.ms.median >= 100 else 2  # noqa: PLR2004
    median, p90 = contender.ms.median, contender.ms.p90
    return f"{median:.{digits}f} / {p90:.{digits}f} ({contender.share:.0%})"


def _machine() -> dict[str, object]:
    return {
        "processor": platform.machine(),
        "isa": _core.select_isa(),
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def _say(line: str) -> None:
    click.echo(line, err=True)


def _broker(name: str | None) -> BrokerKind:
    if name is None:
        return find_broker()
    if name == "mosquitto" and not shutil.which("mosquitto"):
        raise BrokerError("mosquitto is not on PATH: install it, or take --broker amqtt")
    return "amqtt" if name == "amqtt" else "mosquitto"


@click.command()
@click.option("--case", "recipes", multiple=True, help="Recipe; default: the five shipped ones.")
@click.option("--fleet", "fleets", multiple=True, type=click.Path(path_type=Path))
@click.option("--teacher", "teachers", multiple=True, type=click.Path(path_type=Path))
@click.option("--seconds", default=60.0, show_default=True, help="Time limit of a case's networks.")
@click.option("--frames", default=200, show_default=True, type=click.IntRange(1))
@click.option("--broker", type=click.Choice(["mosquitto", "amqtt"]), help="As devit demo.")
@click.option("--without-onnx", is_flag=True, help="Only the native engine.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@one_line_errors
def main(
    *,
    recipes: tuple[str, ...],
    fleets: tuple[Path, ...],
    teachers: tuple[Path, ...],
    seconds: float,
    frames: int,
    broker: str | None,
    without_onnx: bool,
    as_json: bool,
) -> None:
    """Time a teacher on one core against its fleet."""
    if len(fleets) != len(teachers):
        raise ConfigError(f"{len(fleets)} --fleet and {len(teachers)} --teacher: give pairs")
    set_up_logging("human", "error")
    names = recipes or (() if fleets else RECIPES)
    cases = [recipe_case(name) for name in names]
    cases += [bundle_case(*pair) for pair in zip(fleets, teachers, strict=True)]
    options = Options(seconds, frames, _broker(broker), not without_onnx)
    machine = _machine()
    with threadpool_limits(1):  # numpy multiplies by the classifier's matrix
        results = [run_case(case, options) for case in cases]
    if as_json:
        named = [_as_dict(result) for result in results]
        report = {"machine": machine, "broker": options.broker, "cases": named}
        click.echo(msgspec.json.encode(report))
        return
    click.echo(", ".join(f"{name} {value}" for name, value in machine.items()))
    for result in results:
        shown = ", ".join(f"{name} {error:.1e}" for name, error in result.errors.items())
        click.echo(
            f"{result.case}: {result.detail}, FMA peak of one core {result.peak_gflops:.1f} "
            f"GFLOP/s, distance from float64: {shown or 'not measured'}; "
            f"{result.transport.payload} bytes through {options.broker}"
        )
    click.echo(table(results))


def _as_dict(value: object) -> object:
    """Named tuples as objects, not arrays."""
    if hasattr(value, "_asdict"):
        return {name: _as_dict(item) for name, item in value._asdict().items()}
    if isinstance(value, dict):
        return {name: _as_dict(item) for name, item in value.items()}
    return [_as_dict(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
