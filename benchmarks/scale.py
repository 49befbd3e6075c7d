"""How a fleet grows: cameras, parts, replicas and shards, over mosquitto, one NATS and three.

    python benchmarks/scale.py --short
    python benchmarks/scale.py --picture docs/scale.png

Engines sleep for a stated time, so that the transport is measured and not the arithmetic of this
machine. A row of `latest` offers more and more images a second until labels are missing or 1 in
100 takes over 200 ms; its figures are those of the last rate that was kept. A row of `every`
publishes a backlog at once; its rate is that at which the labels come. Linux only: the processor's
time comes from /proc. Processes share this machine: ratios count, rates are of that day.
"""

import json
import os
import tempfile
import time
from math import nan
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
from scale_fleet import Cameras, ScaleFleet, wait_online
from transport import PHOTO_BYTES, image_file

from devit_iot.cli.common import one_line_errors
from devit_iot.errors import BrokerError

LIMIT_MS = 200.0
_RATES = (2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
_BACKLOG_S, _DRAIN_S = 6.0, 300.0
_TRIES = 2
_FEATURE, _LABEL = 900, 500  # bytes
_HEAD = (
    "| broker, delivery | cameras | parts | replicas | shards | engine ms | images/s "
    "| p50 / p99 ms | broker, node, aggregator: CPU ms an image | kB an image | load |"
)
_MISSING = 0.01
_IMAGE_SIZE = 224


class Row(msgspec.Struct, frozen=True):
    """What one fleet is made of."""

    broker: str = "mosquitto"
    cameras: int = 16
    parts: int = 4
    replicas: int = 1
    shards: int = 1
    sleep_ms: float = 20.0
    delivery: str = "latest"


class Result(msgspec.Struct, frozen=True):
    """What it kept up with.

    Attributes:
        row: the fleet.
        rate: images a second; of `latest` the highest at which 99 of 100 images had their label
            within the limit, 0 if none; of `every` that at which a backlog was worked off.
        p50_ms: median time from publishing to label at that rate.
        p99_ms: time within which 99 of 100 have their label.
        cpu_ms: processor time for one image of all brokers, nodes and aggregators.
        kilobytes: payload that crosses the brokers for one image, calculated.
        load: mean number of processes that want a processor, of the last minute.
    """

    row: Row
    rate: float
    p50_ms: float
    p99_ms: float
    cpu_ms: dict[str, float]
    kilobytes: float
    load: float


SHORT = (
    Row(cameras=2, parts=1, sleep_ms=5.0),
    Row(cameras=2, parts=1, sleep_ms=300.0, delivery="every"),
)
ROWS = (
    *(Row(broker) for broker in ("mosquitto", "nats-1", "nats-3")),
    *(Row(broker, delivery="every") for broker in ("mosquitto", "nats-1", "nats-3")),
    *(Row(cameras=count) for count in (1, 64, 256)),
    *(Row(parts=count) for count in (1, 2, 8)),
    *(Row(parts=1, replicas=count, sleep_ms=200.0, delivery="every") for count in (1, 2, 4)),
    *(Row(shards=count) for count in (2, 4)),
)


def measure(row: Row, seconds: float, limit_ms: float) -> Result:
    """Offer more and more images until a rate is not kept."""
    payload = image_file(_IMAGE_SIZE)
    with tempfile.TemporaryDirectory(prefix="devit-scale-") as folder:
        fleet = ScaleFleet(
            Path(folder),
            broker=row.broker,
            parts=row.parts,
            replicas=row.replicas,
            shards=row.shards,
            sleep_ms=row.sleep_ms,
            delivery=row.delivery,
        )
        with fleet:
            fleet.start()
            with Cameras(fleet.url, every=row.delivery == "every") as cameras:
                wait_online(cameras, fleet, len(fleet.nodes) + row.shards)
                cameras.show(payload, cameras=row.cameras, rate=5.0, seconds=2.0)
                time.sleep(1.0)
                result = Result(row, 0.0, nan, nan, {}, kilobytes(row), os.getloadavg()[0])
                if row.delivery == "latest":
                    return _climb(result, fleet, cameras, payload, seconds, limit_ms)
                return _drain(result, fleet, cameras, payload)


def kilobytes(row: Row) -> float:
    """Payload that crosses the brokers for one image, in and out."""
    copies = row.parts + row.replicas - 1  # every replica gets every image
    return (PHOTO_BYTES * (1 + copies) + 2 * row.parts * _FEATURE + 2 * _LABEL) / 1e3


def _drain(result: Result, fleet: ScaleFleet, cameras: Cameras, payload: bytes) -> Result:
    """Let images of `every` wait, and see how many a second get their label."""
    row, cpu, begin = result.row, fleet.cpu_s(), time.monotonic()
    count = round(_BACKLOG_S * 1e3 / row.sleep_ms) * row.replicas
    shown = cameras.show(payload, cameras=row.cameras, rate=10.0 * count, seconds=0.1)
    while not all(request in cameras.seen for request in shown):
        if time.monotonic() > begin + _DRAIN_S:
            raise BrokerError("a backlog of `every` is not worked off")
        time.sleep(0.01)
    rate = len(shown) / (time.monotonic() - begin)
    taken = [1e3 * (cameras.seen[r] - cameras.sent[r]) for r in shown]
    return _with_times(result, rate, taken, _each(fleet, cpu, len(shown)))


def _climb(
    result: Result,
    fleet: ScaleFleet,
    cameras: Cameras,
    payload: bytes,
    seconds: float,
    limit_ms: float,
) -> Result:
    """Offer more and more images of `latest`, until a rate fails twice."""
    failed = 0
    for rate in (rate for rate in _RATES for _ in range(_TRIES)):
        if rate <= result.rate:
            continue
        cpu, degraded = fleet.cpu_s(), cameras.degraded
        cameras_ = result.row.cameras
        shown = cameras.show(payload, cameras=cameras_, rate=rate, seconds=seconds)
        time.sleep(2 * limit_ms / 1e3)
        used = _each(fleet, cpu, len(shown))
        taken = [1e3 * (cameras.seen[r] - cameras.sent[r]) for r in shown if r in cameras.seen]
        missing = len(shown) - len(taken) + cameras.degraded - degraded
        if missing > _MISSING * len(shown) or np.percentile(taken, 99) > limit_ms:
            failed += 1
            if failed == _TRIES:
                break
            continue
        failed = 0
        result = _with_times(result, float(rate), taken, used)
    return result


def _each(fleet: ScaleFleet, before: dict[str, float], images: int) -> dict[str, float]:
    """Processor time of one image since then, milliseconds."""
    return {name: 1e3 * (now - before[name]) / images for name, now in fleet.cpu_s().items()}


def _with_times(
    result: Result, rate: float, taken: list[float], cpu_ms: dict[str, float]
) -> Result:
    p50, p99 = np.percentile(taken, [50, 99])
    return msgspec.structs.replace(
        result, rate=rate, p50_ms=float(p50), p99_ms=float(p99), cpu_ms=cpu_ms
    )


def table(results: list[Result]) -> str:
    """The results as Markdown."""
    lines = [
        _HEAD,
        f"|{' --- |' * 11}",
    ]
    for result in results:
        row, cpu = result.row, result.cpu_ms
        used = ", ".join(
            f"{cpu.get(name, float('nan')):.1f}" for name in ("broker", "node", "aggregator")
        )
        lines.append(
            f"| {row.broker}, {row.delivery} | {row.cameras} | {row.parts} | {row.replicas} "
            f"| {row.shards} | {row.sleep_ms:g} | {result.rate:.1f} | {result.p50_ms:.0f} / "
            f"{result.p99_ms:.0f} | {used} "
            f"| {result.kilobytes:.0f} | {result.load:.0f} |"
        )
    return "\n".join(lines)


def _picture(path: Path, results: list[Result]) -> None:
    """One panel for each thing that grows, images a second over its number."""
    from matplotlib.figure import Figure

    from devit_iot.figures.style import BLUE, Drawing
    from devit_iot.figures.writing import write_picture

    def draw() -> Drawing:
        figure = Figure(figsize=(9.0, 2.8), layout="constrained")
        panels = figure.subplots(1, 4)
        for axes, name in zip(panels, ("cameras", "parts", "replicas", "shards"), strict=True):
            base = Row(parts=1, sleep_ms=200.0, delivery="every") if name == "replicas" else Row()
            points = sorted(
                (getattr(r.row, name), r.rate)
                for r in results
                if msgspec.structs.replace(r.row, **{name: getattr(base, name)}) == base
            )
            axes.plot([x for x, _ in points], [y for _, y in points], "o-", color=BLUE)
            axes.set_xlabel(name)
            axes.set_ylim(bottom=0)
        panels[0].set_ylabel("images/s, p99 < 200 ms")
        alt = "Images a second at which 99 of 100 labels come within 200 ms, over the number of "
        return Drawing(figure, f"{alt}cameras, parts, replicas and shards")

    write_picture(path, draw)


@click.command()
@click.option("--short", is_flag=True, help="One small fleet, to see that it works.")
@click.option("--seconds", default=4.0, help="How long each rate is offered.")
@click.option("--limit-ms", default=LIMIT_MS, help="What 99 of 100 labels must keep.")
@click.option("--only", default="", help="Rows of this broker, or with this text in their JSON.")
@click.option("--json", "as_json", is_flag=True, help="Lines of JSON instead of a table.")
@click.option("--picture", type=click.Path(path_type=Path), help="Growth curves, a PNG file.")
@one_line_errors
def main(
    *,
    short: bool,
    seconds: float,
    limit_ms: float,
    only: str,
    as_json: bool,
    picture: Path | None,
) -> None:
    """Measure and print."""
    results: list[Result] = []
    for row in SHORT if short else ROWS:
        if only in json.dumps(msgspec.to_builtins(row)):
            results.append(measure(row, seconds, limit_ms))
            line: dict[str, Any] = msgspec.to_builtins(results[-1])
            click.echo(json.dumps(line), err=not as_json)
    if not as_json:
        click.echo(table(results))
    if picture is not None:
        _picture(picture, results)


if __name__ == "__main__":
    main()
