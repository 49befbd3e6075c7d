"""A whole decomposition, stage by stage; what a stage has stored is not computed again."""

from typing import NamedTuple

import msgspec
import torch

from devit_iot.decompose.network.fleet import Fleet
from devit_iot.decompose.network.models import Classifier, SubVit
from devit_iot.decompose.stages.distill import distill_part
from devit_iot.decompose.stages.ensemble import train_ensemble
from devit_iot.decompose.stages.first import copies, train_first
from devit_iot.decompose.stages.first_share import first_stage, joint_stage
from devit_iot.decompose.stages.joint import train_joint
from devit_iot.decompose.stages.names import PARTITION, reaches
from devit_iot.decompose.stages.partition import Groups, partition, partition_by_similarity
from devit_iot.decompose.stages.shrink import shrink_first, shrink_part
from devit_iot.decompose.stages.subtask import sub_tasks, whole_task
from devit_iot.decompose.stages.teach import (
    restrict,
    train_part_teacher,
    train_teacher,
    train_template,
)
from devit_iot.decompose.training.context import Context
from devit_iot.export.fold import F64


class TrainedFleet(NamedTuple):
    """What all stages together leave."""

    teacher: Classifier
    groups: Groups
    parts: tuple[SubVit, ...]
    fleet: Fleet


def claim(run: Context) -> None:
    """Tie the run's folders to its recipe and images.

    Raises:
        ConfigError: they hold the results of others.
    """
    recipe = run.recipe
    if not run.accelerator.is_main_process:
        return
    run.shared.claim(
        {
            "seed": recipe.seed,
            "threads": recipe.threads,
            "precision": recipe.precision,
            "data": recipe.data,
            "images": run.data.fingerprint,
            "augment": recipe.augment,
            "side": run.side,
            "teacher": msgspec.structs.replace(recipe.teacher, part=None, passes=0),
            "student": recipe.student,
        }
    )
    # More time may be given to a run that was begun with less.
    run.folder.claim(msgspec.structs.replace(recipe, time=""))


def train(run: Context, until: str = "ensemble") -> TrainedFleet | None:
    """Run the stages up to ``until``, each where it stopped; None unless all are done.

    Raises:
        DataError: a checkpoint or an earlier result cannot be used.
        TrainingError: a training diverged.
    """
    teacher = train_teacher(run)
    groups = choose_groups(run, teacher)
    template = train_template(run, teacher) if reaches(until, "shrink") else teacher
    recipe = run.recipe
    if recipe.method == "joint":
        fleet = _train_joint(run, until, groups, teacher, template)
    else:
        fleet = _train_dekd(run, until, groups, teacher, template)
    return None if fleet is None else TrainedFleet(teacher, groups, fleet.vits, fleet)


def _train_joint(
    run: Context, until: str, groups: Groups, teacher: Classifier, template: Classifier
) -> Fleet | None:
    config = run.recipe.joint
    tasks = [task._replace(scope=tuple(range(teacher.classes))) for task in sub_tasks(groups, 0.0)]
    if config is None or not reaches(until, "shrink"):
        return None
    config = msgspec.structs.replace(config, train=joint_stage(run.recipe))
    first = first_stage(run.recipe)
    if first is None:
        parts = [shrink_part(run, task, template) for task in tasks]
    else:
        one = shrink_first(run._replace(windows=True), whole_task(teacher.classes), template)
    if not reaches(until, "ensemble"):
        return None
    if first is not None:
        parts = copies(run, train_first(run, one, teacher, config, first), teacher)
    return train_joint(run, tasks, parts, teacher, config)


def _train_dekd(
    run: Context, until: str, groups: Groups, teacher: Classifier, template: Classifier
) -> Fleet | None:
    distill, ensemble = run.recipe.distill, run.recipe.ensemble
    if distill is None or ensemble is None:
        return None
    parts = []
    for task in sub_tasks(groups, distill.others):
        part_teacher = train_part_teacher(run, task, teacher)
        if not reaches(until, "shrink"):
            continue
        source = part_teacher if template is teacher else restrict(template, task.scope)
        student = shrink_part(run, task, source)
        if not reaches(until, "distill"):
            continue
        tutor = teacher if run.recipe.teacher.part is None else part_teacher
        parts.append(distill_part(run, task, student, tutor, distill))
    if not reaches(until, "ensemble"):
        return None
    return train_ensemble(run, parts, teacher, ensemble)


def choose_groups(run: Context, teacher: Classifier) -> Groups:
    """The classes of each part, or those that are stored.

    Raises:
        ConfigError: more parts than classes.
    """
    config, classes = run.recipe.partition, len(run.data.classes)
    if run.lacks(run.folder, PARTITION):
        if config.by == "seed":
            groups = partition(classes, config.parts, run.recipe.seed)
        else:
            means = class_means(run, teacher)
            groups = partition_by_similarity(means, config.parts, run.recipe.seed)
        if run.accelerator.is_main_process:
            run.folder.store(PARTITION, groups)
        run.accelerator.wait_for_everyone()
    return run.folder.load(PARTITION, Groups)


def class_means(run: Context, teacher: Classifier) -> F64:
    """The teacher's mean token of each class over the training images, float64[classes, dim]."""
    tokens = run.predict(lambda images: teacher(images).tokens.flatten(1), run.data.fit)
    labels = torch.from_numpy(run.data.labels[run.data.fit])
    sums = torch.zeros(len(run.data.classes), tokens.shape[1], dtype=torch.float64)
    sums.index_add_(0, labels, tokens.double())
    counts = torch.bincount(labels, minlength=len(sums))
    means: F64 = (sums / counts[:, None]).numpy()
    return means
