"""Sub-task training: each part first learns the classes of its own group (METHOD, stage 3)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from devit_iot.decompose.batches import Batches
from devit_iot.decompose.loop import fit
from devit_iot.decompose.models import SubVit
from devit_iot.decompose.recipe import StageConfig
from devit_iot.spec import SubVitSpec


def train_sub_task(
    spec: SubVitSpec,
    group: Sequence[int],
    classes: int,
    batches: Batches,
    stage: StageConfig,
    on_epoch: Callable[[float], None],
) -> SubVit:
    """Train one part from scratch to tell its classes from each other and from all others.

    Its classifier, one row per class of the group and one for "other", is thrown away after.

    Args:
        spec: the part's shape.
        group: its classes.
        classes: number of all classes.
        batches: the full training data.
        stage: hyper-parameters.
        on_epoch: see :func:`devit_iot.decompose.loop.fit`.

    Raises:
        ConfigError: the loss became NaN or infinite.
    """
    model = SubVit(spec)
    classifier = nn.Linear(spec.feature_dim, len(group) + 1)
    target = sub_task_labels(group, classes)

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        logits = classifier(model(images).prefix.flatten(1))
        return functional.cross_entropy(logits, target[labels])

    fit([*model.parameters(), *classifier.parameters()], batches, loss, stage, on_epoch)
    return model


def sub_task_labels(group: Sequence[int], classes: int) -> Tensor:
    """Label of each class in the sub-task, int64[classes]: its place in ``group``, or "other"."""
    target = torch.full((classes,), len(group))
    target[list(group)] = torch.arange(len(group))
    return target
