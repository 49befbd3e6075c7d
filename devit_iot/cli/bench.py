"""``devit bench``: our engine beside other engines, on this board."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import click
import msgspec

from devit_iot.bench.models import MODELS
from devit_iot.bench.peers import ENGINES, OURS, chosen
from devit_iot.bench.report import text
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.storage import Dtype
from devit_iot.cli.bench_profile import write_board_profile
from devit_iot.cli.common import one_line_errors
from devit_iot.cli.number import Number
from devit_iot.cli.options import watts_option
from devit_iot.energy.meter import EnergyMeter
from devit_iot.engine.base import require_core
from devit_iot.errors import ConfigError, EngineError

_DEFAULT_MODELS = ("M1", "M2", "M3", "M4")
_MODELS_HELP = "; ".join(f"{name}: {what}" for name, (what, _) in MODELS.items())
_PEERS_HELP = ", ".join(name for name in ENGINES if name != OURS)


@click.command()
@click.option("--model", "models", multiple=True, help=f"{_MODELS_HELP}. Default: M1 to M4.")
@click.option("--bundle", "folder", type=click.Path(path_type=Path), help="Instead of --model.")
@click.option("--part", default=0, show_default=True, help="Index of the bundle's part.")
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="CPU threads of every engine.  [default: 1; all for --profile]",
)
@click.option(
    "--dtype",
    type=click.Choice(get_args(Dtype)),
    default="float32",
    show_default=True,
    help="What every engine computes in.",
)
@click.option("--peers", default="", help=f"Separated by commas; default: {_PEERS_HELP}.")
@click.option(
    "--seconds",
    type=Number(0),
    default=20.0,
    show_default=True,
    help="Of timed rounds for each network.",
)
@watts_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--picture", type=click.Path(path_type=Path), help="Also draw bars into this PNG.")
@click.option(
    "--profile",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Instead measure this board for devit plan, and write that into a TOML file.",
)
@click.option("--board", help="What it is, for instance pi5: its memory limits for --profile.")
@one_line_errors
def bench(  # noqa: PLR0913 - one for each option
    *,
    models: tuple[str, ...],
    folder: Path | None,
    part: int,
    threads: int | None,
    dtype: Dtype,
    peers: str,
    seconds: float,
    watts: float,
    as_json: bool,
    picture: Path | None,
    profile: Path | None,
    board: str | None,
) -> None:
    """Time our engine beside the peers that are installed, one image at a time.

    All engines run in turn, each in a process of its own, on random data. Memory is what that
    process holds, cold start the time from its start to its first feature, the error is the
    distance from float64. Where the machine has an energy meter, each engine then runs alone for
    some seconds: J is all that the machine took for an image.

    \b
        devit bench --model M4 --peers onnxruntime,ncnn --picture bars.png
        devit bench --bundle bundles/fleet --part 2 --threads 4
        devit bench --profile pi-1.toml --board pi5
    """
    require_core()
    # Our kernels; other commands work on boards without them.
    from devit_iot.bench.compare import Options, compare_models, compare_part

    if models and folder:
        raise ConfigError("--model and --bundle exclude each other")
    cores = len(os.sched_getaffinity(0))
    if threads is not None and threads > cores:
        raise ConfigError(f"--threads {threads}, but this process may use {cores} cores")
    if profile is not None:
        write_board_profile(profile, board, threads or cores, seconds, _say)
        return
    if board is not None:
        raise ConfigError("--board is for --profile")
    if picture is not None:
        _require_matplotlib()
    options = Options(chosen(peers), threads or 1, dtype, seconds, _say, EnergyMeter(watts))
    if folder is not None:
        report = compare_part(Bundle(folder), part, options)
    else:
        report = compare_models(models or _DEFAULT_MODELS, options)
    if picture is not None:
        from devit_iot.bench.picture import draw

        draw(report, picture)
    click.echo(msgspec.json.encode(report) if as_json else text(report))
    wrong = [
        f"{engine.engine} on {network.name} ({engine.error:.2g})"
        for network in report.networks
        for engine in network.engines
        if not engine.sound
    ]
    if wrong:
        raise EngineError(f"relative error too large: {', '.join(wrong)}")


def _require_matplotlib() -> None:
    if find_spec("matplotlib") is None:
        raise EngineError("--picture needs matplotlib: pip install 'devit-iot[bench]'")


def _say(line: str) -> None:
    click.echo(line, err=True)
