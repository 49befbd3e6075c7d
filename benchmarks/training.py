"""Images a second in training, and the share of the cores' FMA peak: ours beside others' loops.

    python benchmarks/training.py --threads 1 --steps 20 --rounds 3

The networks are those of the recipe cifar100-small on random images: its teacher, and four parts of
30 % that learn together. Every contender gets its images from the same augmentation, and they take
turns. Parts are compared with the same networks in a plain torch loop; the teacher also with
torch's own encoder, and with transformers' and timm's ViT where they are installed.
"""

import argparse
import importlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import msgspec
import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional

from devit_iot import _core
from devit_iot.bundle.spec import BlockSpec, SubVitSpec, macs
from devit_iot.decompose.network import models
from devit_iot.decompose.network.fleet import Fleet
from devit_iot.decompose.network.losses import cross_entropy, soft_targets
from devit_iot.decompose.network.models import Classifier, SubVit
from devit_iot.decompose.network.views import crop_view
from devit_iot.decompose.recipe import Recipe, StageConfig, load_recipe
from devit_iot.decompose.shrinking.budget import Budget
from devit_iot.decompose.stages.ensemble import fusion_head
from devit_iot.decompose.stages.images import Decoded
from devit_iot.decompose.stages.joint import joint_loss
from devit_iot.decompose.stages.subtask import sub_tasks
from devit_iot.decompose.training.augment import Augment
from devit_iot.decompose.training.batches import Answers, Batch, Batches
from devit_iot.decompose.training.loop import Loss, Losses, Stage, fit

CLASSES, PARTS, SHARE = 100, 4, 0.3
BACKWARD = 3
"""A step costs so many forward passes; each multiply-accumulate is two operations."""


class Contender(NamedTuple):
    """One training loop.

    Attributes:
        name: the loop's name.
        network: what it trains.
        macs: multiply-accumulates of one image.
        run: trains for so many steps; gives the seconds of each.
    """

    name: str
    network: str
    macs: int
    run: Callable[[int], list[float]]


def data(recipe: Recipe, batch: int, steps: int) -> Batches:
    """Random images of the recipe's size, augmented as it says."""
    side = round(recipe.teacher.model.image_size * recipe.zoom)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4 * batch, side, side, 3), np.uint8)
    rows = np.resize(np.arange(len(images)), steps * batch)
    padding = round(recipe.augment.pad_crop * recipe.zoom)
    augment = Augment(
        msgspec.structs.replace(recipe.augment, pad_crop=padding),
        recipe.data.normalisation,
        side,
        mix=True,
    )
    cpu = torch.device("cpu")
    labels = rng.integers(0, CLASSES, len(images))
    return Batches(Decoded(images, cpu), labels, rows, augment, batch=batch, device=cpu)


def supervised(model: nn.Module, batch: Batch) -> Losses:
    """Cross-entropy with smoothed labels."""
    found = model(batch.images)
    logits = getattr(found, "logits", found)
    logits = logits.reshape(len(batch.images), CLASSES)  # ours have an axis for their heads
    return {"label": cross_entropy(logits, soft_targets(batch.labels, CLASSES, 0.1))}


def taught(fleet_loss: Loss, batch_size: int) -> Loss:
    """Joint training by stored answers."""
    answers = Answers(torch.randn(batch_size, CLASSES))

    def loss(model: nn.Module, batch: Batch) -> Losses:
        return fleet_loss(model, batch._replace(answers=answers))

    return loss


def ours(
    recipe: Recipe, config: StageConfig, model: nn.Module, loss: Loss, accelerator: Accelerator
) -> Callable[[int], list[float]]:
    """The loop of ``devit decompose``."""

    def run(steps: int) -> list[float]:
        marks = [time.perf_counter()]
        with tempfile.TemporaryDirectory() as folder:
            stage = Stage(
                config, 1, Path(folder) / "x.state", lambda *_: marks.append(time.perf_counter())
            )
            fit(model, data(recipe, config.batch, steps), loss, stage, accelerator)
        return np.diff(marks).tolist()

    return run


def plain(
    recipe: Recipe, config: StageConfig, model: nn.Module, loss: Loss, accelerator: Accelerator
) -> Callable[[int], list[float]]:
    """A loop as in torch's tutorials: AdamW as it comes, torch's fused attention."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
    attention = functional.scaled_dot_product_attention

    def run(steps: int) -> list[float]:
        marks = [time.perf_counter()]
        model.train()
        with mock.patch.object(models, "attend", attention):
            for batch in data(recipe, config.batch, steps).epoch(0, 0):
                optimiser.zero_grad()
                with accelerator.autocast():
                    total = torch.stack(list(loss(model, batch).values())).sum()
                total.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
                total.item()
                marks.append(time.perf_counter())
        return np.diff(marks).tolist()

    return run


class TorchVit(nn.Module):
    """The teacher's shape of torch's own encoder layers."""

    def __init__(self, spec: SubVitSpec) -> None:
        super().__init__()
        block = spec.blocks[0]
        layer = nn.TransformerEncoderLayer(
            spec.embed_dim, block.heads, block.mlp_dim, 0.0, "gelu", batch_first=True,
            norm_first=True,
        )  # fmt: skip
        self.embed = nn.Conv2d(3, spec.embed_dim, spec.patch_size, spec.patch_size)
        self.token = nn.Parameter(torch.zeros(1, 1, spec.embed_dim))
        self.position = nn.Parameter(torch.zeros(1, spec.tokens, spec.embed_dim))
        self.blocks = nn.TransformerEncoder(
            layer, len(spec.blocks), nn.LayerNorm(spec.embed_dim), enable_nested_tensor=False
        )
        self.head = nn.Linear(spec.embed_dim, CLASSES)
        self.spec = spec

    def forward(self, images: Tensor) -> Tensor:
        """float[batch, 3, side, side] -> float[batch, classes]."""
        patches = self.embed(crop_view(images, self.spec)).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(images), -1, -1), patches], 1) + self.position
        logits: Tensor = self.head(self.blocks(tokens)[:, 0])
        return logits


class Resized(nn.Module):
    """A network of another library, on the same images."""

    def __init__(self, network: nn.Module, spec: SubVitSpec) -> None:
        super().__init__()
        self.network = network
        self.spec = spec

    def forward(self, images: Tensor) -> Any:  # noqa: ANN401 - logits, or a struct of them
        """Whatever the library answers."""
        return self.network(crop_view(images, self.spec))


def others(spec: SubVitSpec) -> Iterator[tuple[str, nn.Module]]:
    """The teacher's shape in the libraries that are installed."""
    block = spec.blocks[0]
    try:
        library = importlib.import_module("transformers")
        config = library.ViTConfig(
            hidden_size=spec.embed_dim, num_hidden_layers=len(spec.blocks),
            num_attention_heads=block.heads, intermediate_size=block.mlp_dim,
            image_size=spec.image_size, patch_size=spec.patch_size, num_labels=CLASSES,
        )  # fmt: skip
        yield "transformers", Resized(library.ViTForImageClassification(config), spec)
    except ImportError as error:
        print(f"transformers is left out: {error}")
    try:
        library = importlib.import_module("timm.models.vision_transformer")
        network = library.VisionTransformer(
            img_size=spec.image_size, patch_size=spec.patch_size, embed_dim=spec.embed_dim,
            depth=len(spec.blocks), num_heads=block.heads, num_classes=CLASSES,
        )  # fmt: skip
        yield "timm", Resized(network, spec)
    except ImportError as error:
        print(f"timm is left out: {error}")


def contenders(recipe: Recipe, batch: int, accelerator: Accelerator) -> list[Contender]:
    """All loops, ours first."""
    config = StageConfig(epochs=1, learning_rate=1e-4, batch=batch, warmup_epochs=0.0)
    spec = recipe.teacher.model
    found = []

    def add(name: str, network: str, cost: int, loop: Any, model: nn.Module, loss: Loss) -> None:  # noqa: ANN401
        found.append(Contender(name, network, cost, loop(recipe, config, model, loss, accelerator)))

    teacher = Classifier(spec, CLASSES)
    add("devit", "teacher", macs(spec), ours, teacher, supervised)
    add("plain torch", "teacher", macs(spec), plain, Classifier(spec, CLASSES), supervised)
    add("torch encoder", "teacher", macs(spec), plain, TorchVit(spec), supervised)
    for name, model in others(spec):
        add(name, "teacher", macs(spec), plain, model, supervised)
    specs = [part_spec(spec, view) for view in msgspec.structs.replace(
        recipe, partition=msgspec.structs.replace(recipe.partition, parts=PARTS)
    ).views()]  # fmt: skip
    groups = [tuple(range(part, CLASSES, PARTS)) for part in range(PARTS)]
    if recipe.joint is None:
        raise SystemExit("the recipe does not train parts jointly")
    loss = taught(joint_loss(recipe.joint, sub_tasks(groups, 0.0), teacher, 0.1), batch)
    for name, loop in (("devit", ours), ("plain torch", plain)):
        fleet = Fleet([SubVit(part) for part in specs], fusion_head(specs, teacher))
        add(name, f"{PARTS} parts", sum(map(macs, specs)), loop, fleet, loss)
    return found


def part_spec(spec: SubVitSpec, view: Any) -> SubVitSpec:  # noqa: ANN401 - a View
    """One head in every block, and as many neurons as the budget has room for."""
    budget = Budget(spec, SHARE)
    depth = len(spec.blocks)
    draft = budget.refit(np.ones(depth, np.int64), np.ones(depth))
    if draft is None:
        raise SystemExit(f"no part of {SHARE:.0%} fits")
    blocks = tuple(BlockSpec(1, int(count)) for count in draft.neurons)
    return msgspec.structs.replace(spec, blocks=blocks, view=view)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    mixed = "no" if options.precision == "fp32" else options.precision
    accelerator = Accelerator(cpu=True, mixed_precision=mixed)
    recipe, _ = load_recipe("cifar100-small")
    peak = _core.fma_peak()
    every = contenders(recipe, options.batch, accelerator)
    seconds: dict[int, list[float]] = {index: [] for index in range(len(every))}
    for _ in range(options.rounds):
        for index, contender in enumerate(every):
            seconds[index] += contender.run(options.steps)[1:]  # the first one warms up
    peak = max(peak, _core.fma_peak())
    print(
        f"torch {torch.__version__}, {options.threads} thread(s), batch {options.batch}, "
        f"{options.precision}; FMA peak of a core, float32: {peak:.1f} GFLOP/s"
    )
    print(f"{'network':10} {'loop':14} {'images/s':>9} {'GFLOP/s':>8} {'of peak':>8}")
    for index, contender in enumerate(every):
        rate = options.batch / statistics.median(seconds[index])
        gflops = rate * contender.macs * 2 * BACKWARD / 1e9
        share = gflops / (peak * options.threads)
        print(f"{contender.network:10} {contender.name:14} {rate:9.1f} {gflops:8.1f} {share:8.0%}")


if __name__ == "__main__":
    main()
