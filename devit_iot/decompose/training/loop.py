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
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from devit_iot.decompose.recipe import StageConfig
from devit_iot.decompose.run_folder.clock import Clock
from devit_iot.decompose.run_folder.folder import write_whole
from devit_iot.decompose.training.batches import Batch, Epochs
from devit_iot.decompose.training.captured import Captured, CudaCapture
from devit_iot.decompose.training.schedule import ByEpochs, ByTime, Pace, learning_rate
from devit_iot.errors import DataError, TrainingError

MAX_GRADIENT_NORM = 1.0
STORE_S = 60.0
"""A stage that ends by the clock is stored so often, not only after its epochs."""
_PARTS_OF_STAGE = 1000
"""What such a stage's progress is counted in."""

Losses = Mapping[str, Tensor]
"""Scalar terms by name; their sum is minimised."""
Loss = Callable[[nn.Module, Batch], Losses]
"""The network as it is trained (perhaps wrapped), and a batch -> losses."""


class Stage(NamedTuple):
    """What a stage needs to run anywhere and to go on after an interruption.

    Attributes:
        config: hyper-parameters.
        seed: decides the order and all that is random; each epoch derives its own from it.
        state: file that holds the unfinished stage; removed by whoever has stored the result.
        on_step: called after each step: steps done, steps in all, mean losses of the epoch so far.
        measure: gives the accuracy of the network as it is; called each time that the training has
            become twice as long.
        clock: the run's clock.
        end: when the stage ends by the clock, seconds; None for a stage of ``config.epochs``.
    """

    config: StageConfig
    seed: int
    state: Path
    on_step: Callable[[int, int, dict[str, float]], None]
    measure: Callable[[], float] | None = None
    clock: Clock | None = None
    end: float | None = None


class Trained(NamedTuple):
    """How a training went.

    Attributes:
        history: the mean losses of each epoch.
        seconds: time that all epochs took together.
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
    resumed gives the same weights as one that was not. A stage that ends by the clock keeps its
    time instead.

    Args:
        model: its parameters that need a gradient are trained.
        batches: iterated once per epoch.
        loss: called once per batch; on a GPU, only for the first batches of each shape, then what
            it did is repeated (:mod:`devit_iot.decompose.training.captured`).
        stage: hyper-parameters, seed, and where to keep what a resumption needs.
        accelerator: device, precision and processes.

    Raises:
        TrainingError: a loss became NaN or infinite; the last good epoch is kept.
        DataError: the state of an earlier attempt is damaged, or cannot be written.
    """
    training = _Training(model, loss, stage, accelerator)
    pace = _pace(stage, training.record, len(batches))
    history: list[dict[str, float]] = training.record["history"]
    steps = len(history) * len(batches)
    progress = pace.progress(steps) if history else 0.0
    while progress < 1:
        epoch = len(history)
        torch.manual_seed(_mix(stage.seed, epoch, accelerator.process_index))
        sums: dict[str, float] = {}
        shuffled = batches.epoch(epoch, _mix(stage.seed, epoch, 0))
        for step, batch in enumerate(shuffled, start=1):
            for name, value in training.step(batch, progress).items():
                sums[name] = sums.get(name, 0.0) + value
            means = {name: value / step for name, value in sums.items()}
            steps += 1
            progress = pace.progress(steps)
            _tell(stage, pace, progress, steps, means)
            if progress >= 1:
                break
            if stage.end is not None:
                training.store(every_s=STORE_S)
        history.append(means)
        training.finish_epoch(measure=progress < 1)
    return training.finish()


class _Training:
    """A network in training, and what a resumption of it needs."""

    def __init__(
        self, model: nn.Module, loss: Loss, stage: Stage, accelerator: Accelerator
    ) -> None:
        config = stage.config
        model.to(accelerator.device)
        alone = accelerator.num_processes == 1
        captured = alone and accelerator.device.type == "cuda"
        groups = _groups(model, config.weight_decay)
        self._model = model
        self._loss = loss
        self._stage = stage
        self._accelerator = accelerator
        self._optimiser = torch.optim.AdamW(
            groups, lr=config.learning_rate, fused=True, capturable=captured
        )
        self._average = (
            AveragedModel(model, multi_avg_fn=_ema(config.ema), use_buffers=True)
            if config.ema
            else None
        )
        self._pieces: dict[str, Any] = {"model": model, "optimiser": self._optimiser}
        if self._average is not None:
            self._pieces["average"] = self._average
        self.record = _resume(stage.state, self._pieces)
        self._started = time.monotonic() - self.record["seconds"]
        self._stored = time.monotonic()
        self._wrapped = model if alone else accelerator.prepare(model)
        self._terms: tuple[str, ...] = ()
        self._learn = Captured(self._learn_once, CudaCapture()) if captured else self._learn_once
        if captured:  # a graph reads the rate from the device
            for group in self._optimiser.param_groups:
                group["lr"] = torch.tensor(float(group["lr"]), device=accelerator.device)
        model.train()

    def step(self, batch: Batch, progress: float) -> dict[str, float]:
        """Learn from a batch; returns its losses.

        Raises:
            TrainingError: a loss is not finite.
        """
        rate = learning_rate(self._stage.config, progress)
        for group in self._optimiser.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        values = self._learn(batch).tolist()
        total = math.fsum(values)
        if not math.isfinite(total):
            epoch = len(self.record["history"])
            raise TrainingError(
                f"the loss became {total} in epoch {epoch + 1}; lower learning_rate or "
                f"raise warmup_epochs in the recipe. The state after epoch {epoch} is kept in "
                f"{self._stage.state}"
            )
        if self._average is not None:
            self._average.update_parameters(self._model)
        return dict(zip(("loss", *self._terms), (total, *values), strict=True))

    def _learn_once(self, batch: Batch) -> Tensor:
        """One step of the optimiser; the losses, float[terms]."""
        self._optimiser.zero_grad()
        with self._accelerator.autocast():
            terms = self._loss(self._wrapped, batch)
        self._terms = tuple(terms)
        stacked = torch.stack(list(terms.values()))
        self._accelerator.backward(stacked.sum())
        self._accelerator.clip_grad_norm_(self._model.parameters(), MAX_GRADIENT_NORM)
        self._optimiser.step()
        return stacked.detach()

    def finish_epoch(self, *, measure: bool) -> None:
        """Note what was reached, each time that twice as many epochs are done; store."""
        done = len(self.record["history"])
        if measure and self._stage.measure is not None and done & (done - 1) == 0:
            self._model.eval()
            seconds = time.monotonic() - self._started
            self.record["milestones"].append((done, seconds, self._stage.measure()))
            self._model.train()
        self.store()

    def store(self, every_s: float = 0.0) -> None:
        """Keep what a resumption needs, unless it was kept ``every_s`` ago or later."""
        now = time.monotonic()
        if now - self._stored < every_s or not self._accelerator.is_main_process:
            return
        self.record["seconds"] = now - self._started
        content = {name: piece.state_dict() for name, piece in self._pieces.items()} | self.record
        write_whole(self._stage.state, lambda partial: torch.save(content, partial))
        self._stored = time.monotonic()

    def finish(self) -> Trained:
        """Leave the network as it is to be used."""
        self._accelerator.unwrap_model(self._wrapped, keep_fp32_wrapper=False)
        self._accelerator.free_memory()  # it would keep every network that it ever prepared
        if self._average is not None:
            self._model.load_state_dict(self._average.module.state_dict())
        self._model.eval()
        seconds = time.monotonic() - self._started
        return Trained(tuple(self.record["history"]), seconds, tuple(self.record["milestones"]))


def _pace(stage: Stage, record: dict[str, Any], steps: int) -> Pace:
    if stage.end is None or stage.clock is None:
        return ByEpochs(stage.config.epochs * steps)
    begun = record.setdefault("begun", stage.clock.now())
    return ByTime(stage.clock, begun, stage.end)


def _tell(stage: Stage, pace: Pace, progress: float, steps: int, means: dict[str, float]) -> None:
    if isinstance(pace, ByEpochs):
        stage.on_step(steps, pace.total, means)
    else:
        stage.on_step(round(min(progress, 1.0) * _PARTS_OF_STAGE), _PARTS_OF_STAGE, means)


def _ema(decay: float) -> Callable[[Any, Any, Tensor | int], None]:
    """An average that forgets its first weights early, however short the stage is."""

    def average(averages: Any, weights: Any, count: Tensor | int) -> None:  # noqa: ANN401 - torch's
        warm = min(decay, (1 + int(count)) / (10 + int(count)))
        get_ema_multi_avg_fn(warm)(averages, weights, count)  # type: ignore[no-untyped-call]

    return average


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and kernels decay; biases, norms, tokens and position embeddings do not."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    tokens = ("_token", "pos_embed")  # a tokenizer's kernels are none
    free = [p for name, p in named if p.ndim <= 1 or name.endswith(tokens)]
    chosen = {id(p) for p in free}
    return [
        {"params": [p for _, p in named if id(p) not in chosen], "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]


def _mix(seed: int, epoch: int, process: int) -> int:
    """One seed of three numbers, different for all small ones."""
    return (seed * 1_000_003 + epoch) * 1009 + process


def _resume(path: Path, pieces: Mapping[str, Any]) -> dict[str, Any]:
    """Load the state of an earlier attempt; its history, milestones and seconds."""
    if not path.exists():
        return {"history": [], "milestones": [], "seconds": 0.0}
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        for name, piece in pieces.items():
            piece.load_state_dict(content.pop(name))
        return {name: content[name] for name in ("history", "milestones", "seconds")} | content
    except (OSError, EOFError, RuntimeError, LookupError, ValueError, UnpicklingError) as error:
        raise DataError(f"{path} is damaged; remove it, and its stage starts again") from error
