"""Joint decomposition: all parts learn together, from the first step, as one network.

Parts that are trained end to end divide the task among themselves, where parts that are trained
alone and then averaged all learn the same. What each still learns by itself is what is left of the
fleet when the others are lost (Webb et al. 2020, "To ensemble or not ensemble: when does end-to-end
training fail?", eq. 3): L = (1 - lambda) L(fused) + lambda mean_i L(part i).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from devit_iot.decompose.network.fleet import Fleet
from devit_iot.decompose.network.losses import token_distance
from devit_iot.decompose.network.models import Classifier
from devit_iot.decompose.recipe import JointConfig
from devit_iot.decompose.stages.distill import label_and_imitation
from devit_iot.decompose.stages.ensemble import train_fleet
from devit_iot.decompose.stages.subtask import SubTask
from devit_iot.decompose.training.answers import ask
from devit_iot.decompose.training.batches import Batch
from devit_iot.decompose.training.context import Context
from devit_iot.decompose.training.loop import Loss, Losses


def train_joint(
    run: Context,
    tasks: Sequence[SubTask],
    parts: Sequence[Classifier],
    teacher: Classifier,
    config: JointConfig,
) -> Fleet:
    """Train the fleet, or take the one that is stored.

    Args:
        run: the run.
        tasks: what the parts are taught.
        parts: the parts as they were cut out of the teacher.
        teacher: the teacher of all classes.
        config: hyper-parameters of the stage.

    Raises:
        TrainingError: the training diverged.
    """
    loss = joint_loss(config, tasks, teacher, run.recipe.augment.smoothing)
    return train_fleet(run, parts, teacher, loss, config.train, tokens=config.token > 0)


def joint_loss(
    config: JointConfig, tasks: Sequence[SubTask], teacher: Classifier, smoothing: float
) -> Loss:
    """The loss of the fused answer and of each part's own (docs/method.md, eq. 12).

    A part's own answer is its contribution to the sum, times the number of parts. In its labels,
    classes of its group weigh ``1 + own``.
    """
    share = config.individual
    weights = torch.ones(len(tasks), teacher.classes, device=next(teacher.parameters()).device)
    for weight, task in zip(weights, tasks, strict=True):
        weight[list(task.group)] += config.own

    def loss(model: nn.Module, batch: Batch) -> Losses:
        answers = ask(teacher, batch, tokens=config.token > 0)
        output = model(batch.images, config.part_dropout, individual=share > 0)

        def learn(logits: Tensor, weight: Tensor | None = None) -> dict[str, Tensor]:
            return label_and_imitation(
                logits, batch.labels, answers.logits, config, smoothing, weight
            )

        terms = {name: (1 - share) * term for name, term in learn(output.logits).items()}
        if share:
            alone = [
                torch.stack(list(learn(logits, weight).values())).sum()
                for logits, weight in zip(output.individual, weights, strict=True)
            ]
            terms["individual"] = share * torch.stack(alone).mean()
        if answers.tokens is not None:
            terms["token"] = config.token * token_distance(output.hidden, answers.tokens)
        return terms

    return loss
