"""The training loop: resumption, divergence, averages, schedules."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from msgspec import structs
from torch import Tensor, nn
from torch.nn import functional

from devit_iot.bundle.spec import SubVitSpec
from devit_iot.decompose.recipe import AugmentConfig, StageConfig
from devit_iot.decompose.stages.images import Decoded
from devit_iot.decompose.training.augment import Augment
from devit_iot.decompose.training.batches import Batch, Batches
from devit_iot.decompose.training.loop import Losses, Stage, Trained, fit
from devit_iot.decompose.training.schedule import learning_rate
from devit_iot.errors import DataError, TrainingError
from devit_iot.export.fold import Normalisation
from tests.support.shapes import CCT, DEIT, VIT, random_model

CONFIG = StageConfig(epochs=4, learning_rate=0.02, batch=16, warmup_epochs=1.0, ema=0.8)


class StoppedError(Exception):
    """In place of a power cut."""


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.linear = nn.Linear(3 * 8 * 8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(self.linear(images.flatten(1))))
        return logits


def batches() -> Batches:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)
    labels = rng.integers(0, 3, 50)
    augment = Augment(
        AugmentConfig(flip=0.5, rotate_deg=10), Normalisation((0.5,) * 3, (0.3,) * 3), 8, mix=True
    )
    return Batches(
        Decoded(images, torch.device("cpu")),
        labels,
        np.arange(50),
        augment,
        batch=16,
        device=torch.device("cpu"),
    )


def cross_entropy(model: nn.Module, batch: Batch) -> Losses:
    return {"label": functional.cross_entropy(model(batch.images), batch.labels)}


def train(
    state: Path, config: StageConfig = CONFIG, stop_after: int | None = None
) -> tuple[Network, Trained]:
    torch.manual_seed(3)
    model = Network()

    def on_step(done: int, of: int, losses: dict[str, float]) -> None:
        assert 0 < done <= of == config.epochs * 4
        assert losses["loss"] == pytest.approx(losses["label"])
        if done == stop_after:
            raise StoppedError

    stage = Stage(config, 7, state, on_step)
    return model, fit(model, batches(), cross_entropy, stage, Accelerator(cpu=True))


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("stop_after", [2, 4, 7, 15])
def test_a_resumed_stage_ends_bit_equal(tmp_path: Path, stop_after: int) -> None:
    whole, history = train(tmp_path / "whole.state")
    with pytest.raises(StoppedError):
        train(tmp_path / "cut.state", stop_after=stop_after)
    resumed, again = train(tmp_path / "cut.state")
    assert again.history == history.history
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name


def test_the_average_is_what_remains(tmp_path: Path) -> None:
    """With nothing but the last step's weights in the average, it equals plain training."""
    plain, _ = train(tmp_path / "a", StageConfig(epochs=2, learning_rate=0.02, batch=16, ema=0.0))
    averaged, _ = train(
        tmp_path / "b", StageConfig(epochs=2, learning_rate=0.02, batch=16, ema=0.9)
    )
    barely, _ = train(tmp_path / "c", StageConfig(epochs=2, learning_rate=0.02, batch=16, ema=1e-9))
    assert not torch.allclose(plain.linear.weight, averaged.linear.weight, atol=1e-4)
    torch.testing.assert_close(plain.linear.weight, barely.linear.weight)
    assert not averaged.training


def test_the_average_of_a_short_stage_forgets_its_start(tmp_path: Path) -> None:
    config = StageConfig(epochs=8, learning_rate=0.02, batch=16, ema=0.9999)
    averaged, _ = train(tmp_path / "a", config)
    plain, _ = train(tmp_path / "b", structs.replace(config, ema=0.0))
    torch.manual_seed(3)
    start = Network().linear.weight
    left = (averaged.linear.weight - plain.linear.weight).norm()
    assert left < 0.5 * (start - plain.linear.weight).norm()


@pytest.mark.parametrize("ema", [0.5, 0.15, 0.9999])
def test_the_average_is_the_one_of_its_formula(tmp_path: Path, ema: float) -> None:
    """Step n, from 0, enters with 1 - min(ema, (1 + n) / (10 + n)); the first one is the start."""
    torch.manual_seed(3)
    model = Network()
    wanted: dict[str, Tensor] = {}

    def on_step(done: int, *_: object) -> None:
        n = done - 1
        decay = min(ema, (1 + n) / (10 + n)) if n else 0.0
        for name, value in weights(model).items():
            before = wanted.get(name, torch.zeros_like(value).double())
            wanted[name] = decay * before + (1 - decay) * value.double()

    config = structs.replace(CONFIG, ema=ema)
    fit(
        model,
        batches(),
        cross_entropy,
        Stage(config, 7, tmp_path / "s", on_step),
        Accelerator(cpu=True),
    )
    assert len(wanted) == len(model.state_dict())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value.double(), wanted[name], rtol=3e-6, atol=1e-7)


@pytest.mark.parametrize("spec", [VIT, DEIT, CCT], ids=["ViT", "DeiT", "CCT"])
def test_only_matrices_and_kernels_decay(tmp_path: Path, spec: SubVitSpec) -> None:
    """Without a gradient a step of AdamW takes rate x weight_decay off what decays, and no more."""
    model = random_model(spec, torch.float32)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    config = StageConfig(epochs=3, learning_rate=0.1, batch=16, weight_decay=0.3)

    def loss(model: nn.Module, batch: Batch) -> Losses:
        del batch
        return {"none": sum((0.0 * p.sum() for p in model.parameters()), torch.zeros(()))}

    stage = Stage(config, 7, tmp_path / "s", lambda *_: None)
    fit(model, batches(), loss, stage, Accelerator(cpu=True))
    left = math.prod(1 - 0.3 * learning_rate(config, step / 12) for step in range(12))
    assert left < 0.9
    decayed = {name for name, value in model.named_parameters() if decays(name, value)}
    assert len(decayed) > 4 * len(spec.blocks)
    for name, value in model.named_parameters():
        if name in decayed:
            torch.testing.assert_close(value, left * before[name], rtol=1e-5, atol=0)
        else:
            assert torch.equal(value, before[name]), name


def decays(name: str, value: Tensor) -> bool:
    """Tokens and position embeddings have several axes too, and are vectors all the same."""
    return value.ndim > 1 and not name.endswith(("cls_token", "dist_token", "pos_embed"))


def test_without_warm_up_the_first_step_has_the_whole_rate() -> None:
    config = StageConfig(epochs=2, learning_rate=3.0, warmup_epochs=0)
    rates = [learning_rate(config, k / 8) for k in range(8)]
    assert rates == pytest.approx([3 * (1 + math.cos(math.pi * k / 8)) / 2 for k in range(8)])


def test_the_rate_rises_in_the_warm_up_and_then_falls_to_zero() -> None:
    config = StageConfig(epochs=10, learning_rate=3.0, warmup_epochs=1)
    assert learning_rate(config, 0.0) == pytest.approx(3e-3)
    assert learning_rate(config, 0.05) == pytest.approx(1.5)
    assert learning_rate(config, 0.1) == pytest.approx(3.0)
    assert learning_rate(config, 0.55) == pytest.approx(1.5)
    assert learning_rate(config, 1.0) == pytest.approx(0.0)
    assert learning_rate(config, 1.1) == pytest.approx(0.0)


@pytest.mark.parametrize("content", [b"", b"PK", None], ids=["empty", "cut", "another"])
def test_a_damaged_state_is_named(tmp_path: Path, content: bytes | None) -> None:
    state = tmp_path / "x.state"
    if content is None:
        torch.save({"history": []}, state)
    else:
        state.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.state is damaged; remove it"):
        train(state)


def test_a_lost_loss_stops_and_keeps_the_last_good_epoch(tmp_path: Path) -> None:
    state = tmp_path / "x.state"
    torch.manual_seed(3)
    model = Network()
    steps = 0

    def loss(model: nn.Module, batch: Batch) -> Losses:
        nonlocal steps
        steps += 1
        terms = cross_entropy(model, batch)
        return {"label": terms["label"] * (float("nan") if steps == 7 else 1.0)}

    stage = Stage(CONFIG, 7, state, lambda *_: None)
    with pytest.raises(
        TrainingError, match=r"became nan in epoch 2.*state after epoch 1.*x\.state"
    ):
        fit(model, batches(), loss, stage, Accelerator(cpu=True))
    content = torch.load(state, weights_only=True)
    assert len(content["history"]) == 1
    assert all(value.isfinite().all() for value in content["model"].values())


def test_it_learns(tmp_path: Path) -> None:
    config = StageConfig(epochs=30, learning_rate=0.02, batch=16, warmup_epochs=0.0)
    _, trained = train(tmp_path / "x.state", config)
    assert trained.history[-1]["loss"] < 0.5 * trained.history[0]["loss"]
    assert trained.seconds > 0
