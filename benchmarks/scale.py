"""How a fleet grows: cameras, parts, replicas and shards, over mosquitto, one NATS and three.

    python benchmarks/scale.py --short
    python benchmarks/scale.py --picture docs/scale.png
    python benchmarks/scale.py --gains          # as root: a second replica, a second shard
    python benchmarks/scale.py --steady 20      # memory with 1,000 cameras, 20 minutes

Engines sleep for a stated time, so that the transport is measured and not the arithmetic of this
machine. A row of `latest` offers more and more images a second until labels are missing or 1 in
100 takes over 200 ms; its figures are those of the last rate that was kept. A row of `every`
publishes a backlog at once; its rate is that at which the labels come. With `--gains` engines
compute, and each process that is the limit may use a share of one core, so that two of them fit
here whatever else runs. Linux only: processor time and memory come from /proc. Processes share this
machine: ratios count, rates are of that day.
"""

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import msgspec
import numpy as np
from quota import board, dealt_cpus, hub
from scale_cameras import Cameras, Features
from scale_fleet import ScaleFleet, Used, node_names
from scale_rows import GAINS, GROWTH, SHORT, STEADY, Result, Row, Usage, gains, table
from transport import image_file

from devit_iot.cli.common import one_line_errors
from devit_iot.errors import BrokerError

LIMIT_MS = 200.0
_RATES = (2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
_BACKLOG_S, _DRAIN_S = 6.0, 300.0
_PERIOD_US = 10_000  # a tenth of a core is a millisecond in it, the least quota that Linux takes
_TRIES = 2
_WARM_UP = 10
_MISSING = 0.01
_IMAGE_SIZE = 224
_WHILE_ALL_WORK = 0.8
"""Share of a backlog until which each replica and shard has work, however chance divides it."""


class Meter:
    """Measures one fleet that runs.

    Args:
        row: what the fleet is made of.
        fleet: its processes.
        cameras: who shows images to it.
        limit_ms: what 99 of 100 labels must keep.
    """

    def __init__(self, row: Row, fleet: ScaleFleet, cameras: Cameras, limit_ms: float) -> None:
        self._row = row
        self._fleet = fleet
        self._cameras = cameras
        self._limit_ms = limit_ms

    def drain(self) -> Result:
        """Let images of `every` wait, and see how many a second get their label."""
        row, seen = self._row, self._cameras.seen
        count = row.images or round(_BACKLOG_S * 1e3 / row.engine_ms) * row.replicas
        before, begin = self._fleet.used(), time.monotonic()
        shown = self._cameras.show(cameras=row.cameras, rate=100.0 * count, images=count)
        while not all(request in seen for request in shown):
            self._fleet.check()
            if time.monotonic() > begin + _DRAIN_S:
                raise BrokerError("a backlog of `every` is not worked off")
            time.sleep(0.01)
        labels = sorted(seen[request] for request in shown)
        last = int(_WHILE_ALL_WORK * count)
        return self._result(last / (labels[last] - begin), shown, before)

    def climb(self, seconds: float) -> Result:
        """Offer more and more images of `latest`, until a rate fails twice."""
        kept, failed = Result(self._row), 0
        for rate in (rate for rate in _RATES for _ in range(_TRIES)):
            if rate <= kept.rate:
                continue
            degraded = self._cameras.degraded
            result = self.offer(float(rate), seconds)
            missing = result.offered - result.answered + self._cameras.degraded - degraded
            if missing <= _MISSING * result.offered and result.p99_ms <= self._limit_ms:
                kept, failed = result, 0
                continue
            failed += 1
            if failed == _TRIES:
                break
        return kept

    def offer(self, rate: float, seconds: float) -> Result:
        """Offer images of `latest` at one rate."""
        before = self._fleet.used()
        images = max(1, round(rate * seconds))
        shown = self._cameras.show(cameras=self._row.cameras, rate=rate, images=images)
        time.sleep(2 * self._limit_ms / 1e3)
        self._fleet.check()
        return self._result(rate, shown, before)

    def _result(self, rate: float, shown: Sequence[str], before: Mapping[str, Used]) -> Result:
        sent, seen = self._cameras.sent, self._cameras.seen
        taken = [1e3 * (seen[request] - sent[request]) for request in shown if request in seen]
        p50, p95, p99 = map(float, np.percentile(taken or [np.nan], [50, 95, 99]))
        usage = {
            name: Usage(
                1e3 * (now.cpu_s - before[name].cpu_s) / len(shown),
                before[name].memory_mb,
                now.memory_mb,
            )
            for name, now in self._fleet.used().items()
        }
        return Result(
            self._row,
            rate,
            len(shown),
            len(taken),
            p50,
            p95,
            p99,
            usage,
            self._row.kilobytes,
            os.getloadavg()[0],
        )


def measure(row: Row, seconds: float, limit_ms: float) -> Result:
    """Start the fleet of one row and measure it.

    Args:
        row: what the fleet is made of.
        seconds: how long each rate is offered.
        limit_ms: what 99 of 100 labels must keep.

    Raises:
        DevitError: a process ended, no backlog is worked off, or there can be no quotas.
    """
    is_every = row.delivery == "every"
    with (
        tempfile.TemporaryDirectory(prefix="devit-scale-") as folder,
        _quotas(row) as wrappers,
        ScaleFleet(Path(folder), row, wrappers) as fleet,
    ):
        fleet.start()
        with (
            Cameras(fleet.url, image_file(_IMAGE_SIZE), every=is_every)
            if row.from_nodes
            else Features(fleet.url, fleet.bundle, shards=row.shards, every=is_every)
        ) as cameras:
            fleet.wait_online(cameras)
            meter = Meter(row, fleet, cameras, limit_ms)
            cameras.show(cameras=row.cameras, rate=5.0, images=_WARM_UP)
            time.sleep(1.0)
            if is_every:
                return meter.drain()
            if row.rate:
                meter.offer(row.rate, row.cameras / row.rate)  # every camera is known then
                return meter.offer(row.rate, seconds)
            return meter.climb(seconds)


@contextmanager
def _quotas(row: Row) -> Iterator[dict[str, Sequence[str]]]:
    """Control groups for the processes that are the limit; what to put before the commands."""
    if not row.share:
        yield {}
        return
    nodes = [f"node {name}" for name, _ in node_names(row)]
    aggregators = [f"aggregator {shard}" for shard in range(row.shards)]
    limited = nodes or aggregators
    cpus = dealt_cpus(dict.fromkeys(limited, row.share))
    with ExitStack() as stack:
        prefix = stack.enter_context(hub())
        yield dict.fromkeys(("broker", *aggregators), prefix) | {
            name: stack.enter_context(
                board(name.replace(" ", "-"), row.share, cpus[name], _PERIOD_US)
            )
            for name in limited
        }


@click.command()
@click.option("--short", is_flag=True, help="Three small fleets, to see that it works.")
@click.option("--gains", "for_gains", is_flag=True, help="A second replica and a second shard.")
@click.option("--steady", default=0.0, help="1,000 cameras, an image a minute, so many minutes.")
@click.option("--seconds", default=4.0, help="How long each rate is offered.")
@click.option("--limit-ms", default=LIMIT_MS, help="What 99 of 100 labels must keep.")
@click.option("--only", default="", help="Rows of this broker, or with this text in their JSON.")
@click.option("--json", "as_json", is_flag=True, help="Lines of JSON instead of a table.")
@click.option("--picture", type=click.Path(path_type=Path), help="Growth curves, a PNG file.")
@one_line_errors
def main(
    *,
    short: bool,
    for_gains: bool,
    steady: float,
    seconds: float,
    limit_ms: float,
    only: str,
    as_json: bool,
    picture: Path | None,
) -> None:
    """Measure and print."""
    rows = SHORT if short else GAINS if for_gains else STEADY if steady else GROWTH
    results = []
    for row in rows:
        if only in msgspec.json.encode(row).decode():
            results.append(measure(row, 60 * steady or seconds, limit_ms))
            click.echo(msgspec.json.encode(results[-1]), err=not as_json)
    told = gains(results)
    if not as_json:
        click.echo("\n".join([table(results), *([""] if told else []), *told]))
    if picture is not None:
        from scale_picture import draw_growth

        draw_growth(picture, results)


if __name__ == "__main__":
    main()
