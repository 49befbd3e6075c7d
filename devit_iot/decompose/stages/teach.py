"""The teacher, and each part's own, tuned on one group's images (docs/method.md, section 1)."""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from devit_iot.bundle.spec import macs
from devit_iot.decompose.network.losses import cross_entropy, soft_targets
from devit_iot.decompose.network.models import Classifier, class_scores
from devit_iot.decompose.network.weights import load_checkpoint
from devit_iot.decompose.recipe import NetworkConfig
from devit_iot.decompose.run_folder.folder import RunFolder
from devit_iot.decompose.run_folder.results import ModelResult
from devit_iot.decompose.stages import seeds
from devit_iot.decompose.stages.names import TEACHER, TEMPLATE, part_teacher, result_of
from devit_iot.decompose.stages.plan import begin
from devit_iot.decompose.stages.subtask import SubTask, whole_task
from devit_iot.decompose.training.batches import Batch
from devit_iot.decompose.training.context import Context
from devit_iot.decompose.training.loop import Loss, Losses, Trained, fit
from devit_iot.errors import DataError


def train_teacher(run: Context) -> Classifier:
    """Load and fine-tune the teacher, or train it from scratch; or take the one that is stored.

    Raises:
        DataError: the checkpoint does not fit.
        TrainingError: the training diverged.
    """
    return _train_network(run, TEACHER, run.recipe.teacher, seeds.TEACHER)


def train_template(run: Context, teacher: Classifier) -> Classifier:
    """The network that parts are cut from: the recipe's student, or else the teacher itself.

    Raises:
        DataError: the checkpoint does not fit.
        TrainingError: the training diverged.
    """
    config = run.recipe.student
    return teacher if config is None else _train_network(run, TEMPLATE, config, seeds.TEMPLATE)


def _train_network(run: Context, name: str, config: NetworkConfig, number: int) -> Classifier:
    if run.lacks(run.shared, name):
        torch.manual_seed(seeds.first_weights(run.recipe.seed, number))
        model = Classifier(config.model, len(run.data.classes))
        if config.checkpoint:
            path = run.base / config.checkpoint
            if not load_checkpoint(model, path) and config.train is None:
                raise DataError(
                    f"{path} has no classifier of {model.classes} classes for the {name}, and the "
                    f"recipe does not train it: give it a [train], or other images"
                )
        model.to(run.device)
        trained = Trained()
        if config.train is not None:
            fit_rows, labels = run.data.fit, run.data.labels
            batches = run.batches(fit_rows, labels, batch=config.train.batch, mix=config.mix)
            stage = begin(run, name, config.train, number, run.shared)
            trained = fit(model, batches, _supervised(run), stage, run.accelerator)
        task = whole_task(len(run.data.classes))
        store_result(run, run.shared, name, model.eval(), task, trained)
    return run.shared.load_model(name, run.device)


def train_part_teacher(run: Context, task: SubTask, teacher: Classifier) -> Classifier:
    """The teacher of one part: ``teacher`` with the heads of its classes, fine-tuned on them.

    Raises:
        TrainingError: the training diverged.
    """
    name = part_teacher(task.part)
    config = run.recipe.teacher.part
    if run.lacks(run.folder, name):
        model = restrict(teacher, task.scope)
        trained = Trained()
        if config is not None:
            rows, labels = task.taught(run.data), task.labels(run.data)
            batches = run.batches(rows, labels, batch=config.batch, mix=True)
            stage = begin(run, name, config, seeds.PART_TEACHERS + task.part, run.folder)
            trained = fit(model, batches, _supervised(run), stage, run.accelerator)
        store_result(run, run.folder, name, model, task, trained)
    return run.folder.load_model(name, run.device)


def restrict(model: Classifier, group: Sequence[int]) -> Classifier:
    """A copy of ``model`` that knows the classes of ``group`` alone, in that order."""
    chosen = list(group)
    smaller = Classifier(model.spec, len(chosen)).to(next(model.parameters()).device)
    smaller.vit.load_state_dict(copy.deepcopy(model.vit.state_dict()))
    for ours, theirs in zip(smaller.heads, model.heads, strict=True):
        ours.load_state_dict({k: v[chosen].clone() for k, v in theirs.state_dict().items()})
    return smaller.eval()


def held_out_top1(run: Context, model: Classifier, task: SubTask) -> float:
    """Share of the held-out images of the task's group that ``model`` tells from each other."""
    rows = task.own(run.data, run.data.held_out)
    scores = run.predict(lambda images: class_scores(model(images).logits), rows)
    best = torch.tensor(task.own_places)[scores[:, task.own_places].argmax(dim=1)]
    return float((best == torch.from_numpy(task.labels(run.data)[rows])).float().mean())


def _supervised(run: Context) -> Loss:
    smoothing = run.recipe.augment.smoothing

    def loss(model: nn.Module, batch: Batch) -> Losses:
        logits = model(batch.images).logits
        targets = soft_targets(batch.labels, logits.shape[2], smoothing)
        terms = [cross_entropy(logits[:, k], targets) for k in range(logits.shape[1])]
        return {"label": torch.stack(terms).mean()}

    return loss


def store_result(
    run: Context,
    folder: RunFolder,
    name: str,
    model: Classifier,
    task: SubTask,
    trained: Trained,
) -> None:
    """Store ``model`` and what is known of it; one process does, and all others wait for it."""
    top1 = held_out_top1(run, model, task)
    if run.accelerator.is_main_process:
        result = ModelResult(
            macs(model.spec), parameters(model), top1, trained.history, trained.seconds
        )
        folder.store(result_of(name), result)
        folder.store_model(name, model)
    run.accelerator.wait_for_everyone()


def parameters(module: nn.Module) -> int:
    """Number of trainable numbers."""
    return sum(parameter.numel() for parameter in module.parameters())
