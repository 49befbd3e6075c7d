"""Sub-task distillation: each part learns its classes from its teacher (METHOD, stage 3)."""

import torch
from torch import Tensor, nn

from devit_iot.decompose.context import Context
from devit_iot.decompose.loop import Loss, Losses, fit
from devit_iot.decompose.losses import cross_entropy, imitation, relations, soft_targets
from devit_iot.decompose.models import Classifier
from devit_iot.decompose.recipe import DistillConfig, EnsembleConfig, Recipe
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
        smoothing = recipe.augment.smoothing
        terms = label_and_imitation(output.logits, labels, taught.logits, config, smoothing)
        if related:
            pair = (output.traces[middle], taught.traces[theirs])
            terms["relations"] = relations(*pair, config.relations)
        return terms

    return loss


def label_and_imitation(
    logits: Tensor,
    labels: Tensor,
    teacher: Tensor,
    config: DistillConfig | EnsembleConfig,
    smoothing: float,
) -> dict[str, Tensor]:
    """METHOD's (1 - a) CE(first token, label) + a imitation(last token, teacher).

    Args:
        logits: float[batch, k, classes].
        labels: see :func:`devit_iot.decompose.losses.soft_targets`; smoothing likewise.
        teacher: logits of its heads, float[batch, k, classes]; their mean is what it answers.
        config: METHOD's alpha (``imitation``), and the temperature of the teacher's classes.
        smoothing: of the labels.
    """
    share = config.imitation
    targets = soft_targets(labels, logits.shape[2], smoothing)
    terms = {"label": (1 - share) * cross_entropy(logits[:, 0], targets)}
    if share:
        answer = teacher.mean(dim=1)
        terms["imitation"] = share * imitation(logits[:, -1], answer, config.temperature)
    return terms
