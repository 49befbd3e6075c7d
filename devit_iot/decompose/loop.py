"""The one training loop: AdamW, warm-up, cosine decay, and a stop when the loss is lost."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from devit_iot.decompose.batches import Batches
from devit_iot.decompose.recipe import StageConfig
from devit_iot.errors import ConfigError

MAX_GRADIENT_NORM = 1.0

Loss = Callable[[Tensor, Tensor], Tensor]
"""Normalised images and labels of a batch -> scalar loss."""


def fit(
    parameters: Iterable[nn.Parameter],
    batches: Batches,
    loss: Loss,
    stage: StageConfig,
    on_epoch: Callable[[float], None],
) -> list[float]:
    """Minimise ``loss`` over ``stage.epochs`` epochs.

    Args:
        parameters: what is trained.
        batches: iterated once per epoch.
        loss: called once per batch.
        stage: hyper-parameters.
        on_epoch: called after each epoch with its mean loss.

    Returns:
        The mean loss of each epoch.

    Raises:
        ConfigError: the loss became NaN or infinite.
    """
    trained = list(parameters)
    optimiser = torch.optim.AdamW(trained, lr=stage.learning_rate, weight_decay=stage.weight_decay)
    steps, warmup = stage.epochs * len(batches), stage.warmup_epochs * len(batches)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: _learning_rate_factor(step, steps, warmup)
    )
    history = []
    for epoch in range(stage.epochs):
        total = 0.0
        for images, labels in batches:
            value = loss(images, labels)
            total += value.item()
            if not math.isfinite(total):
                raise ConfigError(
                    f"the loss became {value.item()} in epoch {epoch + 1}; lower learning_rate "
                    "or raise warmup_epochs in the recipe"
                )
            optimiser.zero_grad()
            torch.autograd.backward(value)
            nn.utils.clip_grad_norm_(trained, MAX_GRADIENT_NORM)
            optimiser.step()
            schedule.step()
        history.append(total / len(batches))
        on_epoch(history[-1])
    return history


def _learning_rate_factor(step: int, steps: int, warmup: float) -> float:
    """Linear from 0 to 1 over ``warmup`` steps, then half a cosine down to 0 (Loshchilov 2017)."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, steps - warmup)))
