"""``devit evaluate``: how accurate and how fast a bundle is on this machine, parts lost or not."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle import Bundle
from devit_iot.cli.common import one_line_errors
from devit_iot.cli.measure import Report, measure, run_fleet
from devit_iot.cli.options import dtype_option
from devit_iot.decompose.data import ImageSource
from devit_iot.decompose.sources import SPLITS, open_source
from devit_iot.engine.base import ENGINES
from devit_iot.errors import DataError
from devit_iot.services.local import LocalFleet
from devit_iot.storage import Dtype

_PROGRESS_S = 15
_SHOWN_CLASSES = 5


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    metavar="PATH",
    help="Class folders (a folder, zip or tar), a CIFAR archive, or 'digits'.",
)
@click.option(
    "--split",
    type=click.Choice(list(SPLITS)),
    default="test",
    show_default=True,
    help="Of data that has splits.",
)
@click.option("--engine", type=click.Choice(sorted(ENGINES)), default="native", show_default=True)
@dtype_option
@click.option(
    "--threads",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the engine; 0 for all CPUs.",
)
@click.option(
    "--lose", type=click.IntRange(min=0), metavar="K", help="Lose exactly K parts, not 0 to N - 1."
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="COUNT", help="Only some images, evenly spread."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@one_line_errors
def evaluate(  # noqa: PLR0913 - one for each option
    bundle: Path,
    data: str,
    split: str,
    engine: str,
    dtype: Dtype | None,
    threads: int,
    lose: int | None,
    limit: int | None,
    *,
    as_json: bool,
) -> None:  # click wants a real backspace before a block that it must not wrap
    """Measure BUNDLE on labelled images: accuracy, loss of parts, confidence, time.

    Folders are named like the bundle's classes, or by class index.

    \b
        devit evaluate bundles/pets --data photos/
        devit evaluate bundles/cifar100 --data cifar-100-python.tar.gz --lose 1
    """
    opened = Bundle(bundle)
    parts = len(opened.manifest.parts)
    if lose is not None and lose >= parts:
        raise DataError(f"the bundle has {parts} parts; --lose takes 0 to {parts - 1}")
    source = open_source(data, Path(), split=split, strict=False)
    if limit is not None and limit < len(source):
        source = source.subset(np.linspace(0, len(source) - 1, limit).round().astype(np.int64))
    labels = _bundle_labels(opened.manifest.classes, source)
    fleet = LocalFleet(opened, engine=engine, threads=threads, dtype=dtype)
    done = run_fleet(fleet, source, _shown)
    for line in done.unreadable:
        click.echo(line, err=True)
    report = measure(opened, fleet, done, labels[done.read], lose)
    click.echo(msgspec.json.encode(report) if as_json else _text(report))


def _bundle_labels(classes: tuple[str, ...], source: ImageSource) -> NDArray[np.int64]:
    """The source's labels, int64[count], as indices into the bundle's ``classes``."""
    used = {source.classes[label] for label in np.unique(source.labels)}
    index = {name: number for number, name in enumerate(classes)}
    if not used <= index.keys():
        by_number = {str(number): number for number in range(len(classes))}
        if not used <= by_number.keys():
            more = ", ..." if len(classes) > _SHOWN_CLASSES else ""
            raise DataError(
                f"'{min(used - index.keys())}' of {source.origin} is no class of the bundle; name "
                f"folders like its classes ({', '.join(classes[:_SHOWN_CLASSES])}{more}) or by "
                "class index"
            )
        index = by_number
    own = np.array([index.get(name, -1) for name in source.classes], np.int64)
    return own[source.labels]


def _shown(indices: range) -> Iterator[int]:
    """Hand on ``indices``; show progress and the time left on standard error."""
    if sys.stderr.isatty():
        with click.progressbar(indices, label="evaluating", file=sys.stderr) as bar:
            yield from bar
        return
    started = shown = time.monotonic()
    for done, index in enumerate(indices):
        now = time.monotonic()
        if done and now - shown >= _PROGRESS_S:
            shown = now
            left = (now - started) * (len(indices) - done) / done
            click.echo(f"{done} of {len(indices)} images, about {left:.0f} s left", err=True)
        yield index


def _text(report: Report) -> str:
    lines = [
        f"{report.images} images: top-1 {report.top1:.2%}, top-5 {report.top5:.2%}, "
        f"calibration error {report.ece:.2%}"
        + (f", {report.unreadable} unreadable" if report.unreadable else ""),
        "",
        "parts lost  top-1 mean   worst  lost in the worst",
    ]
    lines += [
        f"{lost.count:10d} {lost.mean:11.2%} {lost.worst:7.2%}  "
        + (", ".join(map(str, lost.worst_parts)) or "-")
        for lost in report.lost
    ]
    lines += ["", "part  median ms    MMACs      kB"]
    lines += [
        f"{part.part:4d} {part.ms:10.3f} {part.macs / 1e6:8.2f} {part.bytes / 1000:7.0f}"
        for part in report.parts
    ]
    lines += [f"fusion: median {report.fusion_ms:.3f} ms; engine: {report.engine}"]
    return "\n".join(lines)
