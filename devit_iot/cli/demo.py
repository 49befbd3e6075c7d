"""``devit demo``: see a fleet work, on this machine, with one command."""

import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import click
import msgspec

from devit_iot.bundle.reading import Bundle
from devit_iot.camera.source import CameraImage
from devit_iot.cli.common import one_line_errors, serve, set_up_logging
from devit_iot.cli.demo_display import Display, LiveDisplay, PlainDisplay, SilentDisplay
from devit_iot.cli.number import Number
from devit_iot.cli.old_options import Command
from devit_iot.config.listen import page_address
from devit_iot.datasets.source import read_image_folder
from devit_iot.demo.demo import Answer, Demo, Plan, accuracy, summarise
from devit_iot.demo.processes import find_broker
from devit_iot.engine.base import require_core
from devit_iot.errors import ConfigError
from devit_iot.evaluation.local import LocalFleet

_FRAMES = 120
_DEMO = Path(__file__).resolve().parent.parent / "demo"


@click.command(cls=Command, path="devit demo")
@click.option(
    "--count",
    type=click.IntRange(1),
    help="How many images to publish; default: 120, with --dashboard until Ctrl-C.",
)
@click.option(
    "--rate",
    default=10.0,
    show_default=True,
    type=Number(0, min_open=True),
    help="Images per second.",
)
@click.option("--kill-part", type=click.IntRange(0), help="Kill the node of this part.")
@click.option(
    "--after",
    default=20,
    show_default=True,
    type=click.IntRange(0),
    help="Kill after so many images; with --dashboard it comes back after as many, and so on.",
)
@click.option(
    "--dashboard",
    "listen",
    is_flag=False,
    flag_value="127.0.0.1:8080",
    metavar="[HOST:PORT]",
    help="Serve the live page too, at 127.0.0.1:8080 unless given.",
)
@click.option("--json", "as_json", is_flag=True, help="For machines: the last line is JSON.")
@click.option(
    "--broker-kind",
    type=click.Choice(["mosquitto", "amqtt"]),
    help="Default: mosquitto if on PATH.",
)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    default=_DEMO / "bundle",
    help="Folder of a fleet bundle; default: the demo's own.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=_DEMO / "images.zip",
    help="Class folders (a folder or zip); default: the demo's own.",
)
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Write bundle and images into a new folder instead, to start a fleet by hand.",
)
@one_line_errors
def demo(  # noqa: PLR0913 - one for each option
    *,
    count: int | None,
    rate: float,
    kill_part: int | None,
    after: int,
    listen: str | None,
    as_json: bool,
    broker_kind: str | None,
    bundle: Path,
    data: Path,
    save: Path | None,
) -> None:
    """Start a broker, one node per part and an aggregator; show them labelled images.

    \b
        devit demo --kill-part 1 --after 20
        devit demo --kill-part 1 --after 20 --rate 2 --dashboard

    Exit code 0 only if every image got its label.
    """
    if save is not None:
        _save(save, bundle, data)
        return
    require_core()
    parts = len(Bundle(bundle).manifest.parts)
    if kill_part is not None and kill_part >= parts:
        raise ConfigError(f"--kill-part {kill_part}: the fleet has parts 0 to {parts - 1}")
    set_up_logging("human", "error")  # what happens is shown in the table
    samples = [(CameraImage(s.name, s.payload), s.class_name) for s in read_image_folder(data)]
    plan = Plan(
        bundle=bundle,
        samples=samples,
        frames=count or (None if listen else _FRAMES),
        rate=rate,
        broker="amqtt" if broker_kind == "amqtt" else "mosquitto" if broker_kind else find_broker(),
        kill_part=kill_part,
        kill_after=after,
        page=page_address(listen) if listen else None,
    )
    display: Display = (
        SilentDisplay() if as_json else LiveDisplay() if sys.stdout.isatty() else PlainDisplay()
    )
    with tempfile.TemporaryDirectory(prefix="devit-demo-") as folder, display:
        running = Demo(plan, Path(folder), on_answer=display.answer, on_event=display.event)
        answers = serve(running)
    if as_json:
        _print_json(answers)
    else:
        _print_summary(answers, bundle)
    if any(answer.label is None for answer in answers):
        sys.exit(1)


def _save(folder: Path, bundle: Path, data: Path) -> None:
    """Write ``folder/bundle`` and ``folder/images``; neither may be there yet."""
    try:
        folder.mkdir(parents=True)
        shutil.copytree(bundle, folder / "bundle")
        if data.is_dir():
            shutil.copytree(data, folder / "images")
        else:
            with zipfile.ZipFile(data) as images:
                images.extractall(folder / "images")
    except FileExistsError as error:
        raise ConfigError(f"--save {folder} is there already: name a new folder") from error
    except (OSError, zipfile.BadZipFile) as error:
        raise ConfigError(f"--save {folder}: {error}") from error
    click.echo(f"{folder}/bundle and {folder}/images: a node's --bundle, what a camera sends")


def _print_json(answers: list[Answer]) -> None:
    summary = summarise(answers)
    result = {
        "frames": summary.frames,
        "labels": summary.labels,
        "accuracy": round(summary.accuracy, 4),
        "degraded": summary.degraded,
        "latency_ms": {"p50": round(summary.p50_ms, 2), "p99": round(summary.p99_ms, 2)},
        "stages_ms": {stage: round(ms, 3) for stage, ms in summary.latencies_ms.items()},
    }
    click.echo(msgspec.json.encode(result))


def _print_summary(answers: list[Answer], bundle: Path) -> None:
    summary = summarise(answers)
    click.echo(
        f"\n{summary.labels} labels of {summary.frames} images, "
        f"accuracy {summary.accuracy:.1%}, {summary.degraded} degraded\n"
        f"image to label: p50 {summary.p50_ms:.1f} ms, p99 {summary.p99_ms:.1f} ms"
    )
    if summary.latencies_ms:
        named = ", ".join(f"{name} {ms:.2f}" for name, ms in summary.latencies_ms.items())
        click.echo(f"of it, median ms of the last part to answer: {named}")
    degraded = [answer for answer in answers if answer.label is not None and answer.label.degraded]
    if degraded:
        _print_loss(degraded, bundle)


def _print_loss(degraded: list[Answer], bundle: Path) -> None:
    """Compare with what the whole fleet says of the very same images."""
    whole = LocalFleet(Bundle(bundle), threads=1)
    right = sum(whole.classify(a.image.payload)[0].label == a.truth for a in degraded)
    without, with_all = accuracy(degraded), right / len(degraded)
    click.echo(
        f"the {len(degraded)} degraded labels: accuracy {without:.1%}; the whole fleet has "
        f"{with_all:.1%} on the same images: lost {100 * (with_all - without):.1f} points"
    )
