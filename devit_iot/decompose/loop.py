"""The one training loop: AdamW, warm-up and cosine decay, resumable after every epoch."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from devit_iot.decompose.batches import Batch, Epochs
from devit_iot.decompose.folder import write_whole
from devit_iot.decompose.recipe import StageConfig
from devit_iot.errors import DataError, TrainingError

MAX_GRADIENT_NORM = 1.0
_FIRST_RATE = 1e-3
"""The warm-up's first learning rate, as a share of the peak."""

Losses = Mapping[str, Tensor]
"""Scalar terms by name; their sum is minimised."""
Loss = Callable[[nn.Module, Batch], Losses]
"""The network as it is trained (perhaps wrapped), and a batch -> losses."""


class Stage(NamedTuple):
    """What a stage needs to run anywhere and to go on after an interruption.

    Attributes:
        config: hyper-parameters.
        seed: of the order and of all that is random; each epoch derives its own from it.
        state: file that holds the unfinished stage; removed by whoever has stored the result.
        on_step: called after each step: steps done, steps in all, mean losses of the epoch so far.
        measure: gives the accuracy of the network as it is; called each time that the training has
            become twice as long.
    """

    config: StageConfig
    seed: int
    state: Path
    on_step: Callable[[int, int, dict[str, float]], None]
    measure: Callable[[], float] | None = None


class Trained(NamedTuple):
    """How a training went.

    Attributes:
        history: the mean losses of each epoch.
        seconds: that all epochs took together.
        milestones: epochs, seconds, and what was measured then.
    """

    history: tuple[dict[str, float], ...] = ()
    seconds: float = 0.0
    milestones: tuple[tuple[int, float, float], ...] = ()


def fit(
    model: nn.Module, batches: Epochs, loss: Loss, stage: Stage, accelerator: Accelerator
) -> Trained:
    """Train ``model`` in place.

    An epoch depends on the weights, the optimiser and its own seed alone: a run that was killed and
    resumed gives the same weights as one that was not.

    Args:
        model: its parameters that need a gradient are trained.
        batches: iterated once per epoch.
        loss: called once per batch.
        stage: hyper-parameters, seed, and where to keep what a resumption needs.
        accelerator: device, precision and processes.

    Raises:
        TrainingError: a loss became NaN or infinite; the last good epoch is kept.
        DataError: the state of an earlier attempt is damaged.
    """
    config = stage.config
    model.to(accelerator.device)
    optimiser = torch.optim.AdamW(_groups(model, config.weight_decay), lr=config.learning_rate)
    schedule = _schedule(optimiser, config, len(batches))
    average = (
        AveragedModel(model, multi_avg_fn=_ema(config.ema), use_buffers=True)
        if config.ema
        else None
    )
    pieces: dict[str, Any] = {"model": model, "optimiser": optimiser, "schedule": schedule}
    if average is not None:
        pieces["average"] = average
    history, milestones, earlier = _resume(stage.state, pieces)
    started = time.monotonic() - earlier
    wrapped = accelerator.prepare(model) if accelerator.num_processes > 1 else model
    model.train()
    for epoch in range(len(history), config.epochs):
        torch.manual_seed(_mix(stage.seed, epoch, accelerator.process_index))
        sums: dict[str, float] = {}
        shuffled = batches.epoch(epoch, _mix(stage.seed, epoch, 0))
        for step, batch in enumerate(shuffled, start=1):
            with accelerator.autocast():
                terms = loss(wrapped, batch)
            stacked = torch.stack(list(terms.values()))
            total = stacked.sum()
            values = [total.item(), *stacked.tolist()]
            for name, value in zip(("loss", *terms), values, strict=True):
                sums[name] = sums.get(name, 0.0) + value
            if not math.isfinite(values[0]):
                raise TrainingError(
                    f"the loss became {values[0]} in epoch {epoch + 1}; lower learning_rate or "
                    f"raise warmup_epochs in the recipe. The state after epoch {epoch} is kept in "
                    f"{stage.state}"
                )
            optimiser.zero_grad()
            accelerator.backward(total)
            accelerator.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
            optimiser.step()
            schedule.step()
            if average is not None:
                average.update_parameters(model)
            means = {name: value / step for name, value in sums.items()}
            stage.on_step(epoch * len(batches) + step, config.epochs * len(batches), means)
        history.append(means)
        done = len(history)
        if stage.measure is not None and done & (done - 1) == 0 and done < config.epochs:
            model.eval()
            milestones.append((done, time.monotonic() - started, stage.measure()))
            model.train()
        if accelerator.is_main_process:
            _store(stage.state, pieces, history, milestones, time.monotonic() - started)
    accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
    accelerator.free_memory()  # it would keep every network that it ever prepared
    if average is not None:
        model.load_state_dict(average.module.state_dict())
    model.eval()
    return Trained(tuple(history), time.monotonic() - started, tuple(milestones))


def _ema(decay: float) -> Callable[[Any, Any, Tensor | int], None]:
    """An average that forgets its first weights early, however short the stage is."""

    def average(averages: Any, weights: Any, count: Tensor | int) -> None:  # noqa: ANN401 - torch's
        warm = min(decay, (1 + int(count)) / (10 + int(count)))
        get_ema_multi_avg_fn(warm)(averages, weights, count)  # type: ignore[no-untyped-call]

    return average


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and kernels decay; biases, norms and tokens do not."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    free = [p for name, p in named if p.ndim <= 1 or "token" in name or "pos_embed" in name]
    chosen = {id(p) for p in free}
    return [
        {"params": [p for _, p in named if id(p) not in chosen], "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]


def _schedule(optimiser: torch.optim.Optimizer, config: StageConfig, steps: int) -> LRScheduler:
    """Linear warm-up, then half a cosine down to zero (Loshchilov and Hutter 2017, eq. 5)."""
    warmup = min(round(config.warmup_epochs * steps), config.epochs * steps - 1)
    if warmup == 0:
        return CosineAnnealingLR(optimiser, config.epochs * steps)
    warm = LinearLR(optimiser, _FIRST_RATE, 1.0, warmup)
    decay = CosineAnnealingLR(optimiser, max(1, config.epochs * steps - warmup))
    return SequentialLR(optimiser, [warm, decay], [warmup])


def _mix(seed: int, epoch: int, process: int) -> int:
    """One seed of three numbers, different for all small ones."""
    return (seed * 1_000_003 + epoch) * 1009 + process


def _store(
    path: Path,
    pieces: Mapping[str, Any],
    history: list[dict[str, float]],
    milestones: list[tuple[int, float, float]],
    seconds: float,
) -> None:
    content = {name: piece.state_dict() for name, piece in pieces.items()}
    content |= {"history": history, "milestones": milestones, "seconds": seconds}
    write_whole(path, lambda partial: torch.save(content, partial))


def _resume(
    path: Path, pieces: Mapping[str, Any]
) -> tuple[list[dict[str, float]], list[tuple[int, float, float]], float]:
    if not path.exists():
        return [], [], 0.0
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        for name, piece in pieces.items():
            piece.load_state_dict(content[name])
        return content["history"], content["milestones"], content["seconds"]
    except (OSError, EOFError, RuntimeError, LookupError, ValueError, UnpicklingError) as error:
        raise DataError(f"{path} is damaged; remove it, and its stage starts again") from error
