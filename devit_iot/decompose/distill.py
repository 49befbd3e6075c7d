"""Sub-task distillation: each part learns its classes from its teacher (METHOD, stage 3)."""

import torch
from torch import Tensor, nn

from devit_iot.decompose.context import Context
from devit_iot.decompose.loop import Loss, Losses, fit
from devit_iot.decompose.losses import cross_entropy, imitation, relations, soft_targets
from devit_iot.decompose.models import Classifier
from devit_iot.decompose.recipe import Recipe
from devit_iot.decompose.subtask import SubTask
from devit_iot.decompose.teach import store_result

FIRST_STAGE = 1000
"""Seeds of these stages follow those of the part teachers."""


def distill_part(
    run: Context, task: SubTask, student: Classifier, teacher: Classifier
) -> Classifier:
    """Train one part on the images of its task, or take the one that is stored.

    Raises:
        TrainingError: the training diverged.
    """
    name = f"distilled-{task.part}"
    if run.lacks(run.folder, name):
        config = run.recipe.distill.train
        rows, labels = task.taught(run.data), task.labels(run.data)
        batches = run.batches(rows, labels, batch=config.batch, mix=True)
        stage = run.stage(name, config, FIRST_STAGE + task.part, run.folder)
        loss = distillation(run.recipe, student, teacher)
        trained = fit(student, batches, loss, stage, run.accelerator)
        store_result(run, run.folder, name, student, task, trained)
    return run.folder.load_model(name, run.device)


def distillation(recipe: Recipe, student: Classifier, teacher: Classifier) -> Loss:
    """METHOD's stage 3: labels, the teacher's classes, and its middle block's Q, K, V relations.

    A DeiT's class token learns the labels and its distillation token the teacher's classes; a
    network with one token learns both with it.
    """
    config = recipe.distill
    middle = len(student.spec.blocks) // 2
    theirs = len(teacher.spec.blocks) // 2
    related = any(config.relations)

    def loss(model: nn.Module, images: Tensor, labels: Tensor) -> Losses:
        with torch.no_grad():
            taught = teacher(images, keep={theirs} if related else ())
        output = model(images, keep={middle} if related else ())
        scores = taught.logits.mean(dim=1)
        terms = label_and_imitation(
            output.logits,
            soft_targets(labels, scores.shape[1], recipe.augment.smoothing),
            scores,
            config.imitation,
            config.temperature,
        )
        if related:
            pair = (output.traces[middle], taught.traces[theirs])
            terms["relations"] = relations(*pair, config.relations)
        return terms

    return loss


def label_and_imitation(
    logits: Tensor, targets: Tensor, teacher: Tensor, share: float, temperature: float
) -> dict[str, Tensor]:
    """METHOD's (1 - a) CE(first token, label) + a imitation(last token, teacher).

    Args:
        logits: float[batch, k, classes].
        targets: float[batch, classes], of the labels.
        teacher: logits, float[batch, classes].
        share: METHOD's alpha.
        temperature: of the teacher's classes, see :func:`devit_iot.decompose.losses.imitation`.
    """
    terms = {"label": (1 - share) * cross_entropy(logits[:, 0], targets)}
    if share:
        terms["imitation"] = share * imitation(logits[:, -1], teacher, temperature)
    return terms
