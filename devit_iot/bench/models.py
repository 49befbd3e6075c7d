"""What a benchmark runs: five published shapes, random weights and images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from devit_iot.bench.graph import F32
from devit_iot.bundle.spec import BlockSpec, SubVitSpec
from devit_iot.bundle.storage import Array
from devit_iot.errors import ConfigError
from devit_iot.export.reference import with_golden


def _vit(image_size: int, patch_size: int, dim: int, block: BlockSpec, depth: int) -> SubVitSpec:
    return SubVitSpec(image_size, image_size, patch_size, dim, 64, 1, (block,) * depth)


MODELS = {
    "M1": ("DeiT-Tiny/16-224", _vit(224, 16, 192, BlockSpec(3, 768), 12)),
    "M2": ("DeiT-Small/16-224", _vit(224, 16, 384, BlockSpec(6, 1536), 12)),
    "M3": (
        "a part of M2: 3 of 6 heads, 600 of 1536 neurons",
        _vit(224, 16, 384, BlockSpec(3, 600), 12),
    ),
    "M4": ("ViT for CIFAR, 32x32, patch 4", _vit(32, 4, 192, BlockSpec(3, 384), 9)),
    "M5": ("ViT-B/16-224", _vit(224, 16, 768, BlockSpec(12, 3072), 12)),
}
"""Name -> what it is, its shape."""


def require_models(names: Sequence[str]) -> None:
    """Raise ConfigError unless all are in MODELS."""
    for name in names:
        if name not in MODELS:
            raise ConfigError(f"no model '{name}'; there are: {', '.join(MODELS)}")


def model_tensors(name: str) -> dict[str, Array]:
    """Random engine tensors of one of MODELS, and a golden pair: a random image, its feature."""
    _, spec = MODELS[name]
    return with_golden(spec, random_tensors(spec, 0), random_image(spec))


def random_tensors(spec: SubVitSpec, seed: int) -> dict[str, F32]:
    """Engine tensors that keep every intermediate near 1, also the scores of attention."""
    rng = np.random.default_rng(seed)
    tensors = {t.name: random_array(rng, t.shape) for t in spec.tensors()}
    tensors["tokenizer.0.weight" if spec.tokenizer else "patch_embed.weight"] /= 64  # raw pixels
    for index, block in enumerate(spec.blocks):
        queries = slice(block.heads * spec.head_dim)
        for kind in ("weight", "bias"):
            tensors[f"blocks.{index}.attn.qkv.{kind}"][queries] *= np.float32(spec.head_dim**-0.5)
    return tensors


def random_array(rng: np.random.Generator, shape: tuple[int, ...]) -> F32:
    """Normal, its variance the inverse of what one output sums up."""
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else shape[0]
    values: F32 = rng.standard_normal(shape, np.float32)
    return values / np.float32(fan_in**0.5)


def random_image(spec: SubVitSpec, seed: int = 0) -> NDArray[np.uint8]:
    """Noise, as the decoder would hand it over."""
    side = spec.image_size
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
