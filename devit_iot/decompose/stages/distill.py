"""Sub-task distillation: a part learns its classes from its teacher (docs/method.md, section 3)."""

import torch
from torch import Tensor, nn

from devit_iot.decompose.network.losses import cross_entropy, imitation, relations, soft_targets
from devit_iot.decompose.network.models import Classifier, class_scores
from devit_iot.decompose.recipe import DistillConfig, ImitationConfig
from devit_iot.decompose.stages import seeds
from devit_iot.decompose.stages.names import distilled
from devit_iot.decompose.stages.plan import begin
from devit_iot.decompose.stages.subtask import SubTask
from devit_iot.decompose.stages.teach import store_result
from devit_iot.decompose.training.answers import ask, taught_batches
from devit_iot.decompose.training.batches import Batch, Epochs
from devit_iot.decompose.training.context import Context
from devit_iot.decompose.training.loop import Loss, Losses, fit


def distill_part(
    run: Context, task: SubTask, student: Classifier, teacher: Classifier, config: DistillConfig
) -> Classifier:
    """Train one part on the images of its task, or take the one that is stored.

    Args:
        run: the run.
        task: what the part is taught.
        student: the network that was cut out for the part.
        teacher: the teacher of all classes, or the part's own where the recipe fine-tunes one.
        config: hyper-parameters of the stage.

    Raises:
        TrainingError: the training diverged.
    """
    name = distilled(task.part)
    if run.lacks(run.folder, name):
        rows, labels = task.taught(run.data), task.labels(run.data)
        if any(config.relations) or run.recipe.teacher.part is not None:
            batches: Epochs = run.batches(rows, labels, batch=config.train.batch, mix=True)
        else:
            batches = taught_batches(run, teacher, rows, labels, config.train)
        number = seeds.DISTILLED + task.part
        stage = begin(run, name, config.train, number, run.folder)
        loss = distillation(config, student, teacher, task, run.recipe.augment.smoothing)
        trained = fit(student, batches, loss, stage, run.accelerator)
        store_result(run, run.folder, name, student, task, trained)
    return run.folder.load_model(name, run.device)


def distillation(
    config: DistillConfig,
    student: Classifier,
    teacher: Classifier,
    task: SubTask,
    smoothing: float = 0.0,
) -> Loss:
    """Labels, the teacher's classes, and its middle block's relations (docs/method.md, eq. 7).

    A DeiT's class token learns the labels and its distillation token the teacher's classes; a
    network with one token learns both with it.
    """
    middle = len(student.spec.blocks) // 2
    theirs = len(teacher.spec.blocks) // 2
    related = any(config.relations)
    scope: Tensor | slice = slice(None)
    if teacher.classes > len(task.scope):
        scope = torch.tensor(task.scope, device=next(teacher.parameters()).device)

    def loss(model: nn.Module, batch: Batch) -> Losses:
        if not related:
            answer = ask(teacher, batch).logits[:, scope]
            logits = model(batch.images).logits
            return label_and_imitation(logits, batch.labels, answer, config, smoothing)
        with torch.no_grad():
            taught = teacher(batch.images, keep={theirs})
        output = model(batch.images, keep={middle})
        answer = class_scores(taught.logits)[:, scope]
        terms = label_and_imitation(output.logits, batch.labels, answer, config, smoothing)
        pair = (output.traces[middle], taught.traces[theirs])
        terms["relations"] = relations(*pair, config.relations)
        return terms

    return loss


def label_and_imitation(
    logits: Tensor,
    labels: Tensor,
    teacher: Tensor,
    config: ImitationConfig,
    smoothing: float,
    weights: Tensor | None = None,
) -> dict[str, Tensor]:
    """(1 - a) CE(first token, label) + a I(last token, teacher): docs/method.md, eq. 13.

    Args:
        logits: float[batch, k, classes].
        labels: labels in a form of :func:`devit_iot.decompose.network.losses.soft_targets`.
        teacher: the teacher's class scores, float[batch, classes].
        config: the share ``imitation``, and the temperature of the teacher's classes.
        smoothing: probability mass of each label that is spread evenly over all classes.
        weights: weights of the labels' classes, float[classes]; None for equal ones.
    """
    share = config.imitation
    targets = soft_targets(labels, logits.shape[2], smoothing)
    terms = {"label": (1 - share) * cross_entropy(logits[:, 0], targets, weights)}
    if share:
        terms["imitation"] = share * imitation(logits[:, -1], teacher, config.temperature)
    return terms
