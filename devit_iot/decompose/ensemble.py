"""Joint training of all parts and the fusion on the full data (METHOD, stage 4)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from devit_iot.decompose.batches import Batches
from devit_iot.decompose.loop import fit
from devit_iot.decompose.models import FusionHead, SubVit
from devit_iot.decompose.recipe import EnsembleConfig, StageConfig


def train_ensemble(
    models: Sequence[SubVit],
    classes: int,
    batches: Batches,
    stage: StageConfig,
    ensemble: EnsembleConfig,
    on_epoch: Callable[[float], None],
) -> tuple[FusionHead, list[float]]:
    """Train the parts in place, and a new fusion head with them.

    Args:
        models: the parts, after their sub-task training.
        classes: number of all classes.
        batches: the full training data.
        stage: hyper-parameters.
        ensemble: width of the fusion, and part dropout.
        on_epoch: see :func:`devit_iot.decompose.loop.fit`.

    Returns:
        The fusion head, and the mean loss of each epoch.

    Raises:
        ConfigError: the loss became NaN or infinite.
    """
    head = FusionHead([model.spec for model in models], ensemble.hidden, classes)

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        prefixes = [model(images).prefix for model in models]
        logits = head(drop_parts(prefixes, ensemble.part_dropout))
        return functional.cross_entropy(logits, labels)

    modules = (*models, head)
    parameters = [parameter for module in modules for parameter in module.parameters()]
    return head, fit(parameters, batches, loss, stage, on_epoch)


def drop_parts(prefixes: Sequence[Tensor], probability: float) -> list[Tensor]:
    """Put the batch mean in place of a part's tokens, per image and part at random.

    This is what the aggregator does for a missing part, so the fleet learns to do without.

    Args:
        prefixes: per part, float[batch, prefix_tokens, dim_i].
        probability: of losing a part; at least one part of each image is kept.
    """
    count = len(prefixes[0])
    lost = torch.rand(count, len(prefixes)) < probability
    kept = torch.randint(len(prefixes), (count,))
    lost[torch.arange(count), kept] &= ~lost.all(dim=1)
    return [
        torch.where(lost[:, part, None, None], prefix.mean(dim=0, keepdim=True), prefix)
        for part, prefix in enumerate(prefixes)
    ]
