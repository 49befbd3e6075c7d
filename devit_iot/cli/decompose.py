"""``devit decompose``: from a recipe to a fleet, in stages that can be stopped and resumed."""

import functools
import importlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import numpy as np
from msgspec.structs import replace

from devit_iot.bundle.manifest import MAX_PARTS
from devit_iot.bundle.spec import macs as count_macs
from devit_iot.cli.common import one_line_errors
from devit_iot.decompose.stages.names import STAGES
from devit_iot.engine.image import load_image
from devit_iot.errors import ConfigError, DevitError

if TYPE_CHECKING:
    from devit_iot.decompose.network.views import Layout
    from devit_iot.decompose.recipe import Method, Recipe

TRAIN_EXTRA = (
    "accelerate",
    "filelock",
    "kornia",
    "matplotlib",
    "rich",
    "scipy",
    "sklearn",
    "torch",
)
_UNITS = {"K": 1e3, "M": 1e6, "G": 1e9}


class Overrides(NamedTuple):
    """What the command line puts in place of the recipe's."""

    data: str | None
    checkpoint: str | None
    parts: int | None
    macs: str | None
    method: "Method | None"
    views: "Layout | None"
    time: str | None

    def apply(self, recipe: "Recipe") -> "Recipe":
        """The recipe to run.

        Raises:
            ConfigError: the budgets do not parse, or the result cannot be run.
        """
        if self.data is not None:
            recipe = replace(recipe, data=replace(recipe.data, source=_absolute(self.data)))
        if self.checkpoint is not None:
            checkpoint = _absolute(self.checkpoint)
            recipe = replace(recipe, teacher=replace(recipe.teacher, checkpoint=checkpoint))
        if self.parts is not None:
            recipe = replace(recipe, partition=replace(recipe.partition, parts=self.parts))
        if self.macs is not None:
            teacher = count_macs(recipe.teacher.model)
            budgets = tuple(_budget(text, teacher) for text in self.macs.split(","))
            recipe = replace(recipe, shrink=replace(recipe.shrink, macs=budgets))
        if self.method is not None:
            recipe = replace(recipe, method=self.method)
        if self.views is not None:
            recipe = replace(recipe, partition=replace(recipe.partition, views=self.views))
        if self.time is not None:
            recipe = replace(recipe, time=self.time)
        recipe.validate()
        return recipe


@click.group()
def decompose() -> None:
    """Turn a large ViT and labelled images into a fleet (needs the 'train' extra).

    \b
        devit decompose run digits

    A run goes on where it stopped: after an interruption, give the same command again.
    """


def _add_command(name: str) -> None:
    @decompose.command(name, help=STAGES[name])
    @click.argument("recipe")
    @click.option(
        "--folder",
        type=click.Path(path_type=Path),
        help="Run folder.  [default: runs/NAME, the recipe's name]",
    )
    @click.option("--data", help="Data set, in place of the recipe's.")
    @click.option("--checkpoint", help="What the teacher starts from, in place of the recipe's.")
    @click.option("--parts", type=click.IntRange(1, MAX_PARTS), help="Number of parts.")
    @click.option("--macs", help="Budgets: 0.3 of the teacher's, or 1.0G,500M,500M,250M.")
    @click.option("--method", type=click.Choice(["joint", "dekd"]), help="How the parts learn.")
    @click.option("--views", type=click.Choice(["whole", "grid"]), help="What the parts see.")
    @click.option("--time", help="That the whole run may take, such as 3h or 8m.")
    @click.option("--cpu", is_flag=True, help="Leave GPUs alone.")
    @one_line_errors
    def command(recipe: str, folder: Path | None, *, cpu: bool, **overrides: Any) -> None:  # noqa: ANN401 - click's
        _require_train_extra()
        _run(name, recipe, folder, Overrides(**overrides), cpu=cpu)


for _name in STAGES:
    _add_command(_name)


@decompose.command()
@click.argument("source")
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--split",
    default="test",
    show_default=True,
    type=click.Choice(["train", "test"]),
    help="Without splits, 'test' is what a training would keep for the test.",
)
@click.option("--per-class", type=click.IntRange(1), help="Only so many images of each class.")
@one_line_errors
def images(source: str, output: Path, split: str, per_class: int | None) -> None:
    """Write a data set's images as a zip of class folders, for devit demo and devit camera."""
    from devit_iot.datasets.source import write_image_zip
    from devit_iot.datasets.sources import open_source

    found = open_source(source, Path(), split=split)
    for note in found.notes:
        click.echo(note, err=True)
    rows = [
        np.flatnonzero(found.labels == label)[:per_class] for label in range(len(found.classes))
    ]
    write_image_zip(output, (found.sample(row) for row in np.concatenate(rows).tolist()))
    click.echo(f"{sum(map(len, rows))} images: {output}")


@decompose.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The picture, a PNG file.",
)
@one_line_errors
def curve(runs: tuple[Path, ...], output: Path) -> None:
    """Draw accuracy over the number of boards, of all fleets in the folders RUNS.

    The runs have one teacher; each budget gets a line.
    """
    _require_train_extra()
    from devit_iot.decompose.report.figures_boards import draw_boards
    from devit_iot.decompose.run_folder.results import fleets_of
    from devit_iot.figures.writing import write_picture

    fleets = [fleet for run in runs for fleet in fleets_of(run)]
    said = write_picture(output, lambda: draw_boards(fleets))
    if said is None:
        raise ConfigError(
            f"{len(fleets)} fleets in {', '.join(map(str, runs))}: a curve needs two or more; run "
            "'devit decompose run' with other --parts first"
        )
    click.echo(f"{output}: {said}")


def _run(stage: str, name: str, folder: Path | None, overrides: Overrides, *, cpu: bool) -> None:
    from devit_iot.decompose.launch import Launch, launch
    from devit_iot.decompose.recipe import load_recipe

    recipe, base = load_recipe(name)
    recipe = overrides.apply(recipe)
    folder = folder or Path("runs") / recipe.name
    _check_text(recipe, folder)
    spec, side = recipe.teacher.model, round(recipe.teacher.model.resize_size * recipe.zoom)
    squared = replace(spec, image_size=side, resize_size=side)
    left = launch(
        recipe,
        stage,
        Launch(
            base=base,
            folder=folder,
            decode=functools.partial(load_image, spec=squared),
            command=_command(),
            cpu=cpu,
        ),
    )
    if left is None:
        return
    if left.is_file():
        click.echo(left.read_text("utf-8"))
        click.echo(f"bundle: {left.parent / 'bundle'}")
    click.echo(f"{stage}: done, {left}")


def _check_text(recipe: "Recipe", folder: Path) -> None:
    """Raise ConfigError unless every path can be written into the run's files."""
    for path in (recipe.data.source, recipe.teacher.checkpoint, str(folder.resolve())):
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(
                f"the path {path!a} is not UTF-8; rename it, or link to it"
            ) from error


def _command() -> str:
    """What was typed, for the bundle's provenance."""
    return shlex.join(["devit", *sys.argv[1:]]).encode(errors="backslashreplace").decode()


def _require_train_extra() -> None:
    for module in TRAIN_EXTRA:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise DevitError(
                f"training needs '{module}'; pip install 'devit-iot[train]'"
            ) from error


def _absolute(text: str) -> str:
    """A path given on the command line starts from here, not from the recipe."""
    return text if text == "digits" else str(Path(text).resolve())


def _budget(text: str, teacher: int) -> float:
    """A share of the teacher's MACs; absolute ones have a unit."""
    number, unit = (text[:-1], _UNITS[text[-1]]) if text[-1:] in _UNITS else (text, None)
    try:
        share = float(number) if unit is None else float(number) * unit / teacher
    except ValueError as error:
        raise ConfigError(f"--macs: '{text}' is no number, nor one with K, M or G") from error
    if not 0 < share <= 1:
        raise ConfigError(
            f"--macs: '{text}' is {share:.3g} of the teacher's {teacher / 1e6:.1f} MMACs; it must "
            "lie between 0 and 1"
        )
    return share
