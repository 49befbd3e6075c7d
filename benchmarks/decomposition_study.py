"""Which way of making a fleet is the best, at equal floating-point operations.

    python benchmarks/decomposition_study.py cifar100-small --data DATA/cifar100 \
        --checkpoint DATA/deit_tiny_patch16_224.safetensors --folder runs/study

Every method gets the same operations for one number of parts and one budget: as many as joint
training takes for ``--epochs`` over ``--images`` training images. All are measured on held-out
images, on which no weight was trained; test images are never looked at. What is done is stored in
the folder, so a study can be stopped at any time and goes on where it was; several processes can
share one folder, each with other parts, budgets or ways.
"""

import argparse
import functools
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from accelerate import Accelerator
from msgspec.structs import replace
from rich.console import Console
from torch import Tensor

from devit_iot.datasets.source import Decode, hold_out
from devit_iot.decompose.network.fleet import Fleet
from devit_iot.decompose.network.models import SubVit
from devit_iot.decompose.recipe import (
    DistillConfig,
    EnsembleConfig,
    JointConfig,
    Recipe,
    StageConfig,
    load_recipe,
)
from devit_iot.decompose.run import train
from devit_iot.decompose.run_folder.clock import Clock
from devit_iot.decompose.run_folder.folder import RunFolder
from devit_iot.decompose.run_folder.progress import Progress, show_progress
from devit_iot.decompose.stages.images import read_images
from devit_iot.decompose.stages.teach import train_teacher
from devit_iot.decompose.training.context import Context, TrainingData
from devit_iot.engine.image import load_image
from devit_iot.errors import DevitError

DISTILLED = 0.4
"""Share of a method's operations for what comes before all parts are trained together."""


class Way(NamedTuple):
    """One way of making a fleet.

    Attributes:
        name: the way's name in the table.
        views: what the parts see.
        individual: lambda of joint training; None for the paper's order.
        others: share of the other groups' images that a part sees first, in the paper's order.
        first: whether one part is trained first and then copied.
    """

    name: str
    views: str
    individual: float | None = None
    others: float = 0.0
    first: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """Held-out top-1 of a fleet, of its parts alone, and with one part lost (means over parts)."""

    fused: float
    alone: float
    lost: float
    seconds: float


WAYS = (
    *(
        Way(f"joint, lambda = {share:g}", views, share)
        for views in ("whole", "grid")
        for share in (0.0, 0.1, 0.2, 0.5)
    ),
    *(Way("independent parts (lambda = 1)", views, 1.0) for views in ("whole", "grid")),
    *(Way("dekd", views) for views in ("whole", "grid")),
    *(Way("dekd, others = 1", views, others=1.0) for views in ("whole", "grid")),
    *(Way("one first, then parted", views, 0.1, first=True) for views in ("whole", "grid")),
)


class Setting(NamedTuple):
    """What a table's column is about."""

    parts: int
    budget: float
    epochs: int


def recipe_of(recipe: Recipe, way: Way, setting: Setting) -> Recipe:
    """The recipe that spends a setting's operations in one way."""
    epochs, parts = setting.epochs, setting.parts
    joint = recipe.joint
    if joint is None:
        raise DevitError("the recipe has no [joint.train], which the study's rates come from")

    def stage(count: float) -> StageConfig:
        count = max(1, round(count))
        warmup = min(joint.train.warmup_epochs, count / 4)
        return replace(joint.train, epochs=count, warmup_epochs=warmup)

    common = {"imitation": joint.imitation, "temperature": joint.temperature}
    # An epoch of sub-task distillation shows each part its own images, and the others' if it may.
    seen = 1 / parts + way.others * (1 - 1 / parts)
    return replace(
        recipe,
        method="dekd" if way.individual is None else "joint",
        partition=replace(recipe.partition, parts=parts, views=way.views),
        shrink=replace(recipe.shrink, macs=(setting.budget,)),
        joint=JointConfig(
            stage(epochs),
            individual=way.individual or 0.0,
            first=DISTILLED if way.first else 0.0,
            part_dropout=joint.part_dropout if way.individual != 1 else 0.0,
            **common,
        ),
        distill=DistillConfig(
            stage(epochs * DISTILLED / seen), relations=(0, 0, 0), others=way.others, **common
        ),
        ensemble=EnsembleConfig(
            stage(epochs * (1 - DISTILLED)), token=0.0, part_dropout=joint.part_dropout, **common
        ),
    )


class Study:
    """Everything that does not depend on the way.

    Args:
        recipe: gives data, teacher, rates.
        base: folder that the recipe's paths start from.
        folder: the study's folder, where results are stored.
        images: training images that fleets learn from.
        progress: told about every step.
    """

    def __init__(
        self, recipe: Recipe, base: Path, folder: Path, images: int, progress: Progress
    ) -> None:
        self._recipe = recipe
        self._base = base
        self._folder = folder
        self._images = images
        self._progress = progress
        mixed = "no" if recipe.precision == "fp32" else recipe.precision
        self._read: dict[float, tuple[TrainingData, TrainingData]] = {}
        cpu = not torch.accelerator.is_available()
        self._accelerator = Accelerator(cpu=cpu, mixed_precision=mixed)

    def _data(self, zoom: float) -> tuple[TrainingData, TrainingData]:
        """All training images, and those that fleets learn from."""
        if zoom in self._read:
            return self._read[zoom]
        spec = self._recipe.teacher.model
        side = round(spec.resize_size * zoom)
        squared = replace(spec, image_size=side, resize_size=side)
        decode: Decode = functools.partial(load_image, spec=squared)
        data, _ = read_images(
            self._recipe, self._base, decode, self._progress, self._accelerator.device
        )
        share = self._images / len(data.fit)
        if share < 1:  # some of every class
            _, chosen = hold_out(data.labels[data.fit], share, self._recipe.seed)
            self._read[zoom] = data, data._replace(fit=data.fit[chosen])
        else:
            self._read[zoom] = data, data
        return self._read[zoom]

    def outcome(self, way: Way, setting: Setting) -> Outcome:
        """Train a fleet and measure it, or take what is stored."""
        recipe = recipe_of(self._recipe, way, setting)
        name = f"{way.name}-{way.views}-{setting.parts}-{setting.budget:g}-{setting.epochs}"
        own = RunFolder(self._folder / name.replace(" ", "_").replace(",", ""))
        if own.has("outcome"):
            return own.load("outcome", Outcome)
        every, few = self._data(recipe.zoom)
        run = Context(
            recipe, self._base, RunFolder(self._folder), own, every, self._accelerator,
            self._progress, Clock(own, None),
        )  # fmt: skip
        train_teacher(run)  # by all images, once for all ways
        own.claim(recipe)
        run = run._replace(data=few)
        started = time.monotonic()
        fleet = self._train(run)
        seconds = time.monotonic() - started
        outcome = Outcome(*measure(run, fleet), seconds)
        own.store("outcome", outcome)
        return outcome

    def _train(self, run: Context) -> Fleet:
        self._cut(run)
        trained = train(run)
        if trained is None:
            raise DevitError("the training stopped before its end")
        return trained.fleet

    def _cut(self, run: Context) -> None:
        """Parts that several ways cut alike are cut once, and copied into each way's folder."""
        recipe = run.recipe
        others = recipe.distill.others if recipe.method == "dekd" and recipe.distill else 0.0
        first = recipe.joint.first if recipe.joint else 0.0
        alike = (recipe.method, recipe.partition.views, recipe.partition.parts, others, first)
        cut = RunFolder(self._folder / "-".join(map(str, ("cut", *alike, *recipe.shrink.macs))))
        train(run._replace(folder=cut), until="shrink")
        unfinished = shutil.ignore_patterns("*.partial", "*.state")
        shutil.copytree(cut.path, run.folder.path, dirs_exist_ok=True, ignore=unfinished)


@torch.inference_mode()
def measure(run: Context, fleet: Fleet) -> tuple[float, float, float]:
    """Held-out top-1: fused, of parts alone on average, with one part lost on average."""
    rows = run.data.held_out
    labels = torch.from_numpy(run.data.labels[rows])

    def of(part: SubVit) -> Callable[[Tensor], Tensor]:
        return lambda images: part(images).tokens

    tokens = [run.predict(of(part), rows) for part in fleet.vits]
    means = [values.mean(dim=0, keepdim=True).expand_as(values) for values in tokens]

    def top1(there: Sequence[Tensor]) -> float:
        best = fleet.head(there)[0].mean(dim=1).argmax(dim=1)
        return float((best == labels).float().mean())

    def swapped(part: int, one: list[Tensor], others: list[Tensor]) -> list[Tensor]:
        return [one[k] if k == part else others[k] for k in range(len(tokens))]

    parts = range(len(tokens))
    alone = [top1(swapped(part, tokens, means)) for part in parts]
    lost = [top1(swapped(part, means, tokens)) for part in parts]
    return top1(tokens), float(np.mean(alone)), float(np.mean(lost))


def table(study: Study, settings: Sequence[Setting], ways: Sequence[Way]) -> Iterator[str]:
    """Markdown, a line at a time: a row for each way, a column for each setting."""
    heads = [f"{s.parts} x {s.budget:.0%}" for s in settings]
    yield f"| way | views | {' | '.join(heads)} |"
    yield f"| --- | --- | {' | '.join('---' for _ in settings)} |"
    for way in ways:
        cells = []
        for setting in settings:
            shares = way.first or way.others or way.individual not in {0.0, None}
            if setting.parts == 1 and shares:
                cells.append("")  # one part has nobody to share with
                continue
            found = study.outcome(way, setting)
            one = setting.parts == 1
            values = [found.fused] if one else [found.fused, found.alone, found.lost]
            cells.append(" / ".join(f"{100 * value:.2f}" for value in values))
        yield f"| {way.name} | {way.views} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("recipe")
    parser.add_argument("--data")
    parser.add_argument("--checkpoint")
    parser.add_argument("--folder", type=Path, default=Path("runs/study"))
    parser.add_argument("--parts", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.3, 0.1])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--only", help="ways whose name holds this text")
    options = parser.parse_args()
    recipe, base = load_recipe(options.recipe)
    if options.data:
        source = options.data if options.data == "digits" else str(Path(options.data).resolve())
        recipe = replace(recipe, data=replace(recipe.data, source=source))
    if options.checkpoint:
        path = str(Path(options.checkpoint).resolve())
        recipe = replace(recipe, teacher=replace(recipe.teacher, checkpoint=path))
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    settings = [
        Setting(parts, budget, options.epochs)
        for budget in options.budgets
        for parts in options.parts
    ]
    ways = [way for way in WAYS if options.only is None or options.only in way.name]
    with show_progress(Console(stderr=True)) as progress:
        study = Study(recipe, base, options.folder, options.images, progress)
        lines = []
        for line in table(study, settings, ways):
            lines.append(line)
            print(line, flush=True)
    (options.folder / "study.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
