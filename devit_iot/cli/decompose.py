"""``devit decompose``: from a recipe to a fleet bundle."""

import functools
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from devit_iot.bundle import Bundle
from devit_iot.cli.common import one_line_errors
from devit_iot.engine.image import load_image
from devit_iot.errors import DevitError
from devit_iot.spec import macs

if TYPE_CHECKING:
    from devit_iot.decompose.evaluate import Evaluation


@click.group()
def decompose() -> None:
    """Train the parts of a fleet and their fusion (needs the 'train' extra)."""


@decompose.command()
@click.argument("recipe")
@click.option(
    "--output", required=True, type=click.Path(path_type=Path), help="Bundle folder to create."
)
@click.option(
    "--held-out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the held-out test images here, as a zip of class folders.",
)
@one_line_errors
def run(recipe: str, output: Path, held_out: Path | None) -> None:
    r"""Run RECIPE, a shipped recipe's name or the path of a .toml file.

    \b
        devit decompose run digits --output runs/digits
    """
    _require_train_extra()
    from rich.console import Console

    from devit_iot.decompose.data import write_image_zip
    from devit_iot.decompose.progress import show_progress
    from devit_iot.decompose.recipe import load_recipe
    from devit_iot.decompose.run import decompose as run_recipe
    from devit_iot.decompose.run import read_source

    loaded, base = load_recipe(recipe)
    command = f"devit decompose run {recipe} --output {output}"
    if held_out is not None:
        command += f" --held-out {held_out}"
        write_image_zip(held_out, read_source(loaded.data.test, base))
    with show_progress(loaded.work, Console(stderr=True)) as progress:
        result = run_recipe(
            loaded,
            base,
            output,
            decode=functools.partial(load_image, spec=loaded.parts[0]),
            command=command,
            progress=progress,
        )
    click.echo(_report(result.bundle, result.evaluation))


def _require_train_extra() -> None:
    for module in ("rich", "sklearn", "torch"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise DevitError(
                f"training needs '{module}'; pip install 'devit-iot[train]'"
            ) from error


def _report(bundle: Bundle, evaluation: "Evaluation") -> str:
    manifest = bundle.manifest
    lines = ["part      kB    MMACs  without it  classes"]
    for index, (part, without) in enumerate(zip(manifest.parts, evaluation.single, strict=True)):
        names = ", ".join(manifest.classes[label] for label in part.classes)
        lines.append(
            f"{index:4d} {part.weights.size / 1000:7.0f} {macs(part.spec) / 1e6:8.2f} "
            f"{without:11.1%}  {names}"
        )
    lines += ["", "parts lost  top-1 mean   worst"]
    lines += [f"{e.count:10d} {e.mean:11.1%} {e.worst:7.1%}" for e in evaluation.by_count]
    lines += ["", f"bundle {manifest.name}, fingerprint {manifest.fingerprint}: {bundle.path}"]
    return "\n".join(lines)
