"""``devit evaluate``: how accurate and how fast a bundle is on this machine, parts lost or not."""

from pathlib import Path

import click
import msgspec

from devit_iot.bundle.calibration import read_calibration
from devit_iot.bundle.head import read_head
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.storage import Dtype
from devit_iot.cli.common import one_line_errors
from devit_iot.cli.data_options import count_option, data_option, head_option, split_option
from devit_iot.cli.number import Number
from devit_iot.cli.old_options import Command
from devit_iot.cli.options import dtype_option, engine_option, threads_option, watts_option
from devit_iot.datasets.sources import open_source
from devit_iot.energy.meter import NO_METER, EnergyMeter
from devit_iot.energy.stretch import Stretch
from devit_iot.errors import DataError
from devit_iot.evaluation.early import EarlyReport
from devit_iot.evaluation.labels import bundle_labels, evenly, shown
from devit_iot.evaluation.local import LocalFleet
from devit_iot.evaluation.lost_parts import check_choices
from devit_iot.evaluation.measure import EvaluationReport, measure, run_fleet


@click.command(cls=Command, path="devit evaluate")
@click.argument("bundle", type=click.Path(path_type=Path))
@data_option
@split_option("test")
@head_option
@engine_option
@dtype_option
@threads_option
@click.option(
    "--lose", type=click.IntRange(min=0), metavar="K", help="Lose exactly K parts, not 0 to N - 1."
)
@count_option
@click.option(
    "--confidence",
    type=Number(0, 1, min_open=True, max_open=True),
    metavar="P",
    help="Also answer as soon as the whole fleet's answer is so probable to be the same.",
)
@watts_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@one_line_errors
def evaluate(  # noqa: PLR0913 - one for each option
    bundle: Path,
    data: str,
    split: str,
    head: str,
    engine: str,
    dtype: Dtype | None,
    *,
    threads: int,
    lose: int | None,
    count: int | None,
    confidence: float | None,
    watts: float,
    as_json: bool,
) -> None:  # click wants a real backspace before a block that it must not wrap
    """Measure BUNDLE on labelled images: accuracy, loss of parts, confidence, time, energy.

    Folders are named like the bundle's classes, or by number: from 0 if there is a folder 0, from 1
    if there is one for the last class and none for 0.

    \b
        devit evaluate bundles/pets --data photos/
        devit evaluate bundles/cifar100 --data cifar-100-python.tar.gz --lose 1
        devit evaluate bundles/cifar100 --head gate --data photos/
        devit evaluate bundles/cifar100 --confidence 0.95 --data photos/
    """
    opened = Bundle(bundle)
    parts = len(opened.manifest.parts)
    if lose is not None and lose >= parts:
        raise DataError(f"the bundle has {parts} parts; --lose takes 0 to {parts - 1}")
    if lose is not None:
        check_choices(parts, lose)
    found = read_head(opened, head)
    if confidence is not None:
        read_calibration(opened, found)  # before the long pass over the images
    source = open_source(data, Path(), split=split, strict=False)
    source = evenly(source, count)
    labels, notes = bundle_labels(found.classes, source)
    for note in (*source.notes, *notes):
        click.echo(note, err=True)
    fleet = LocalFleet(opened, engine=engine, threads=threads, dtype=dtype, head=head)
    stretch = Stretch(EnergyMeter(watts))
    done = run_fleet(fleet, source, lambda indices: stretch.over(shown(indices)))
    for line in done.unreadable:
        click.echo(line, err=True)
    report = measure(
        opened, fleet, done, labels[done.read], lose, confidence, energy=stretch.energy
    )
    click.echo(msgspec.json.encode(report) if as_json else _text(report))


def _text(report: EvaluationReport) -> str:
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
    lines += ["", "part  median ms  CPU ms    MMACs      kB"]
    lines += [
        f"{part.part:4d} {part.ms:10.3f} {part.cpu_ms:7.3f} {part.macs / 1e6:8.2f} "
        f"{part.bytes / 1000:7.0f}"
        for part in report.parts
    ]
    lines += [
        f"fusion: median {report.fusion_ms:.3f} ms; engine: {report.engine}",
        f"an image, decoded and computed by all parts: {report.cpu_ms:.3f} ms of CPU time",
        _energy_line(report),
    ]
    if report.early is not msgspec.UNSET:
        lines += ["", *_early_lines(report.early)]
    return "\n".join(lines)


def _energy_line(report: EvaluationReport) -> str:
    if not report.energy_from:
        return NO_METER
    how = {
        "stated": "stated watts times the time that it took",
        "rapl": "the kernel's counters (RAPL), for all that the machine did",
        "pmic": "the board's power chip, for all that the board did",
    }[report.energy_from]
    return f"energy: {report.energy_j:.3g} J for an image, by {how}"


def _early_lines(early: EarlyReport) -> list[str]:
    """One line for each order of parts."""
    width = max(len("order"), *(len(_order(result.order)) for result in early.orders))
    head = "part-inferences    MACs  CPU ms  early  agree  all agree   top-1"
    return [
        f"labels that are the whole fleet's with {early.confidence:.4g}:",
        f"{'order':{width}}  {head}",
        *(
            f"{_order(result.order):{width}}  {result.share:15.1%} {result.macs:7.1%} "
            f"{result.cpu_ms:7.3f} "
            f"{result.early:6.1%} {result.agreement:6.2%} {result.agreement_of_all:10.2%} "
            f"{result.top1:7.2%}"
            for result in early.orders
        ),
    ]


def _order(order: tuple[int, ...]) -> str:
    return ", ".join(map(str, order))
