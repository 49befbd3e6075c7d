"""The slow and obvious way, in float64: what every kernel and the engine are compared with."""

import math
import os
import sys
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.spec import CHANNELS, SubVitSpec

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

UNIT = 2.0**-24  # half a unit in the last place of 1.0f: the error of one float32 rounding

# How a test starts another Python; under emulation, sys.executable is a file for another CPU.
PYTHON = os.environ.get("DEVIT_TEST_PYTHON", sys.executable)

_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def gelu(x: F64) -> F64:
    """Hendrycks & Gimpel 2016, exact form; erfc keeps the left tail exact."""
    return x * 0.5 * np.asarray(_erfc(-x / math.sqrt(2.0)), np.float64)


def layer_norm(x: F64, eps: float) -> F64:
    """Ba et al. 2016, eq. (4), without scale and shift."""
    centred = x - x.mean(axis=-1, keepdims=True)
    out: F64 = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps)
    return out


def attention(qkv: F64) -> F64:
    """Vaswani et al. 2017, eq. (1), the scale folded into Q; (tokens, 3, heads, head_dim)."""
    q, k, v = qkv.transpose(1, 2, 0, 3)  # each (heads, tokens, head_dim)
    scores = q @ k.transpose(0, 2, 1)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    out: F64 = (weights / weights.sum(axis=-1, keepdims=True)) @ v
    return out.transpose(1, 0, 2)


def patches(spec: SubVitSpec, image: NDArray[np.uint8]) -> F64:
    """Patches in reading order, each as rows, columns, RGB."""
    grid, side = spec.image_size // spec.patch_size, spec.patch_size
    tiles = image.astype(np.float64).reshape(grid, side, grid, side, CHANNELS)
    return tiles.transpose(0, 2, 1, 3, 4).reshape(spec.patches, spec.patch_dim)


def tokens(spec: SubVitSpec, weights: Mapping[str, F32], image: NDArray[np.uint8]) -> F64:
    """Hassani et al. 2021, eq. (2): convolution, ReLU and max pooling, pixel by pixel."""
    maps: F64 = image.astype(np.float64) - weights["tokenizer.offset"]
    for index, layer in enumerate(spec.tokenizer):
        kernel = weights[f"tokenizer.{index}.weight"].astype(np.float64)
        size, pad = layer.kernel_size, layer.padding
        padded = np.pad(maps, ((pad, pad), (pad, pad), (0, 0)))
        side = (len(padded) - size) // layer.stride + 1
        convolved = np.empty((side, side, layer.channels))
        for y, x in np.ndindex(side, side):
            top, left = y * layer.stride, x * layer.stride
            convolved[y, x] = np.tensordot(kernel, padded[top : top + size, left : left + size], 3)
        pooled = -(-side // 2)
        maps = np.empty((pooled, pooled, layer.channels))
        for y, x in np.ndindex(pooled, pooled):
            around = convolved[max(0, 2 * y - 1) : 2 * y + 2, max(0, 2 * x - 1) : 2 * x + 2]
            maps[y, x] = np.maximum(around, 0).max(axis=(0, 1))
    return maps.reshape(spec.tokens, spec.embed_dim)


def pool(x: F64, weight: F32) -> F64:
    """Hassani et al. 2021, eq. (3) to (5), the norm's scale folded into the weight."""
    scores = x @ weight.astype(np.float64)
    exponents = np.exp(scores - scores.max())
    out: F64 = exponents / exponents.sum() @ x
    return out


def features(spec: SubVitSpec, weights: Mapping[str, F32], image: NDArray[np.uint8]) -> F64:
    """Dosovitskiy et al. 2021, eq. (1) to (4), on the folded tensors of devit_iot.bundle.spec."""

    def linear(x: F64, name: str) -> F64:
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return x @ weight.T.astype(np.float64) + bias

    x = weights["pos_embed"].astype(np.float64)
    if spec.tokenizer:
        x += tokens(spec, weights, image)
    else:
        kernel = weights["patch_embed.weight"].T.astype(np.float64)
        x[spec.prefix_tokens :] += patches(spec, image) @ kernel
    for index, block in enumerate(spec.blocks):
        name = f"blocks.{index}"
        qkv = linear(layer_norm(x, spec.norm_eps), f"{name}.attn.qkv")
        heads = attention(qkv.reshape(spec.tokens, 3, block.heads, spec.head_dim))
        x = x + linear(heads.reshape(spec.tokens, -1), f"{name}.attn.proj")
        normed = layer_norm(x, spec.norm_eps)
        if spec.residual_norm:
            x = normed = normed * weights[f"{name}.norm2.weight"] + weights[f"{name}.norm2.bias"]
        hidden = gelu(linear(normed, f"{name}.mlp.fc1"))
        x = x + linear(hidden, f"{name}.mlp.fc2")
    if spec.tokenizer:
        return pool(layer_norm(x, spec.norm_eps), weights["pool.weight"])
    return layer_norm(x[: spec.prefix_tokens], spec.norm_eps).reshape(-1)


def random_tensors(spec: SubVitSpec, seed: int) -> dict[str, F32]:
    """Weights of the size that training gives them: every layer keeps the scale of its input."""
    rng = np.random.default_rng(seed)
    out: dict[str, F32] = {}
    for tensor in spec.tensors():
        fan_in = math.prod(tensor.shape[1:]) if len(tensor.shape) > 1 else 1
        fan_in = 1 if tensor.name == "pos_embed" else fan_in
        raw_pixels = tensor.name in {"patch_embed.weight", "tokenizer.0.weight"}
        scale = 1 / 128 if raw_pixels else 128 if tensor.name == "tokenizer.offset" else 1.0
        values = rng.standard_normal(tensor.shape, np.float32) * scale / math.sqrt(fan_in)
        out[tensor.name] = values.astype(np.float32)
        if tensor.name.endswith("qkv.weight"):
            out[tensor.name][: len(values) // 3] *= np.float32(spec.head_dim**-0.5)
    return out
