"""What is left to do in a run, and what it costs: from it follows when each training must end."""

import time
from typing import NamedTuple

import msgspec
import torch

from devit_iot.bundle.spec import macs
from devit_iot.decompose.network.models import Classifier
from devit_iot.decompose.recipe import Recipe, StageConfig
from devit_iot.decompose.run_folder.folder import RunFolder
from devit_iot.decompose.stages import seeds
from devit_iot.decompose.stages.first_share import first_stage, joint_stage
from devit_iot.decompose.stages.names import (
    ENSEMBLE,
    FIRST,
    FIRST_CUT,
    TEACHER,
    TEMPLATE,
    distilled,
    part_teacher,
    shrunk,
)
from devit_iot.decompose.training.context import Context
from devit_iot.decompose.training.loop import Stage
from devit_iot.errors import ConfigError

MEAN_IMAGES = 5000
"""Training images over which mean contributions are taken, at most."""
BACKWARD = 3
"""A training step costs so many forward passes."""
SEARCH = 4
"""A candidate of the search costs so many forward passes: it is cut and refitted first."""
PICTURES_S = 5.0
"""For the report and the bundles, on a machine that does nothing else."""
_PROBE_IMAGES, _PROBE_MACS = 32, 4e9
"""The speed is measured on at most so many images at once, fewer of large networks."""
_PROBE_S = 0.5
_LEAST_SHARE = 0.01


def begin(run: Context, name: str, config: StageConfig, number: int, folder: RunFolder) -> Stage:
    """The training ``name``, and when it must end.

    Args:
        run: the run.
        name: name under which the training's result will be stored.
        config: the training's hyper-parameters.
        number: the stage's number (:mod:`devit_iot.decompose.stages.seeds`).
        folder: folder where the training's state is kept.

    Raises:
        ConfigError: the run's time is too short for all but its trainings.
    """

    def on_step(done: int, steps: int, losses: dict[str, float]) -> None:
        run.progress(name, done, steps, losses)

    seed, state = seeds.training(run.recipe.seed, number), folder.state(name)
    limit = run.clock.limit_s
    if limit is None:
        return Stage(config, seed, state, on_step)
    others = other_work_s(run)
    if others >= limit:
        raise ConfigError(
            f"all but the trainings will take {others:.0f} s of {limit:.0f} s; give more --time"
        )
    end = run.clock.end_of(name, trainings_left(run), others)
    return Stage(config, seed, state, on_step, clock=run.clock, end=end)


def trainings_left(run: Context) -> dict[str, float]:
    """The trainings that are not stored yet, in their order, and what each costs.

    The unit is one multiply-accumulate of a forward pass.
    """
    recipe, images = run.recipe, len(run.data.fit)
    teacher, budgets = _costs(recipe)
    found: dict[str, float] = {}

    def add(name: str, train: StageConfig | None, cost: float, share: float = 1.0) -> None:
        if train is not None:
            found[name] = train.epochs * images * share * cost

    def asking(train: StageConfig) -> float:
        """The cost of asking the teacher, for each image and epoch."""
        return teacher * min(recipe.teacher.passes or train.epochs, train.epochs) / train.epochs

    add(TEACHER, recipe.teacher.train, BACKWARD * teacher)
    if recipe.student is not None:
        add(TEMPLATE, recipe.student.train, BACKWARD * macs(recipe.student.model))
    if recipe.method == "joint" and recipe.joint is not None:
        first, train = first_stage(recipe), joint_stage(recipe)
        if first is not None:
            add(FIRST, first, BACKWARD * budgets[0] + asking(first))
        add(ENSEMBLE, train, BACKWARD * sum(budgets) + asking(train))
    if recipe.method == "dekd" and recipe.distill is not None and recipe.ensemble is not None:
        own = 1 / len(budgets)
        seen = own + recipe.distill.others * (1 - own)
        for part, budget in enumerate(budgets):
            add(part_teacher(part), recipe.teacher.part, BACKWARD * teacher, own)
            train = recipe.distill.train
            add(distilled(part), train, BACKWARD * budget + asking(train), seen)
        train = recipe.ensemble.train
        add(ENSEMBLE, train, BACKWARD * sum(budgets) + asking(train))
    return {
        name: cost
        for name, cost in found.items()
        if not (run.shared if name in {TEACHER, TEMPLATE} else run.folder).has(name)
    }


def other_work_s(run: Context) -> float:
    """Seconds that all but the trainings will take: cuts that are left, measuring, the report.

    Images that are decoded when they are needed are taken to be ready.
    """
    recipe = run.recipe
    teacher, budgets = _costs(recipe)
    shrink, cost = recipe.shrink, 0.0
    names = [shrunk(part) for part in range(len(budgets))]
    if first_stage(recipe) is not None:
        names = [FIRST_CUT]
    for name, budget in zip(names, budgets, strict=False):
        if not run.folder.has(name) and budget < teacher:
            cost += shrink.images * (shrink.candidates * SEARCH * budget + 10 * teacher)
    means = min(MEAN_IMAGES, len(run.data.fit))
    cost += (means + run.test_images) * (sum(budgets) + teacher)
    cost += 2 * len(run.data.held_out) * sum(budgets)
    speed = measure_speed(run)
    return cost / speed.macs_per_s + PICTURES_S / speed.share


def _costs(recipe: Recipe) -> tuple[int, list[float]]:
    """Multiply-accumulates of the teacher, and at most of each part."""
    teacher = macs(recipe.teacher.model)
    parts = range(recipe.partition.parts)
    return teacher, [min(recipe.macs_budget(part), teacher) for part in parts]


class Speed(NamedTuple):
    """How fast this process is, beside all others of the machine.

    Attributes:
        macs_per_s: multiply-accumulates of a forward pass that it does in a second.
        share: share of the time in which it had a processor, above 0 and at most 1.
    """

    macs_per_s: float
    share: float


@torch.inference_mode()
def measure_speed(run: Context) -> Speed:
    """The speed at which this process computes now, from some forward passes of the teacher."""
    spec = msgspec.structs.replace(run.recipe.teacher.model, view=msgspec.UNSET)
    model = Classifier(spec, len(run.data.classes)).to(run.device).eval()
    count = max(1, min(_PROBE_IMAGES, round(_PROBE_MACS / macs(spec))))
    images = torch.zeros(count, 3, spec.image_size, spec.image_size, device=run.device)
    model(images).logits.cpu()  # libraries prepare themselves in the first pass
    started, computed, passes = time.monotonic(), time.thread_time(), 0
    while passes == 0 or time.monotonic() - started < _PROBE_S:
        model(images).logits.cpu()
        passes += 1
    elapsed = time.monotonic() - started
    share = min(1.0, max(_LEAST_SHARE, (time.thread_time() - computed) / elapsed))
    return Speed(passes * count * macs(spec) / elapsed, share)
