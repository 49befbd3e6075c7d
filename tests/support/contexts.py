"""A run over a few random images, without the rest of a recipe."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from msgspec.structs import replace

from devit_iot.decompose.recipe import AugmentConfig, Recipe, load_recipe
from devit_iot.decompose.run_folder.clock import Clock
from devit_iot.decompose.run_folder.folder import RunFolder
from devit_iot.decompose.stages.images import Decoded
from devit_iot.decompose.training.context import Context, TrainingData
from tests.support.shapes import VIT

COUNT, CLASSES, PASSES = 37, 5, 3
AUGMENT = AugmentConfig(pad_crop=2, flip=0.5, rotate_deg=10.0, mixup=0.5)


def recipe(**changes: Any) -> Recipe:  # noqa: ANN401 - any field
    shipped, _ = load_recipe("digits")
    teacher = replace(shipped.teacher, model=VIT, passes=PASSES)
    return replace(shipped, teacher=teacher, augment=AUGMENT, **changes)


def context(path: Path, made: Recipe | None = None, fingerprint: str = "f") -> Context:
    rng = np.random.default_rng(1)
    pixels = Decoded(rng.integers(0, 256, (COUNT, 32, 32, 3), np.uint8), torch.device("cpu"))
    labels = rng.integers(0, CLASSES, COUNT)
    names = tuple("abcde")
    rows = np.arange(COUNT)
    data = TrainingData(names, pixels, labels, rows[5:], rows[:5], fingerprint)
    folder = RunFolder(path)
    own = folder.sub("parts")
    return Context(
        made or recipe(), path, folder, own, data, Accelerator(cpu=True), lambda *_: None,
        Clock(own, None),
    )  # fmt: skip
