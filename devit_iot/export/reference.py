"""The folded sub-ViT in float64, the slow and obvious way: what every engine is held to."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.spec import CHANNELS, POOL_PADDING, POOL_SIZE, POOL_STRIDE, SubVitSpec
from devit_iot.bundle.storage import Array
from devit_iot.export.fold import F64

_BATCH_ELEMENTS = 2**20
"""Bounds the largest intermediate of a batch, in numbers."""

_erf = np.frompyfunc(math.erf, 1, 1)


def features(spec: SubVitSpec, tensors: Mapping[str, Array], images: NDArray[np.uint8]) -> F64:
    """The features of a batch (Dosovitskiy et al. 2021, eq. 1-4; Hassani et al. 2021, eq. 2-5).

    Args:
        spec: the shape of the sub-ViT.
        tensors: the engine tensors of :func:`devit_iot.bundle.spec.tensors`.
        images: uint8[count, image_size, image_size, 3], RGB.

    Returns:
        float64[count, feature_dim].
    """
    values = {name: np.asarray(array, np.float64) for name, array in tensors.items()}
    batch = max(1, _BATCH_ELEMENTS // _largest(spec))
    chunks = [images[start : start + batch] for start in range(0, len(images), batch)]
    return np.concatenate([_forward(spec, values, chunk) for chunk in chunks])


def with_golden(
    spec: SubVitSpec, tensors: Mapping[str, Array], image: NDArray[np.uint8]
) -> dict[str, Array]:
    """``tensors`` and the golden pair that proves an engine: an image and its feature.

    Args:
        spec: the shape of the sub-ViT.
        tensors: its engine tensors.
        image: uint8[image_size, image_size, 3].
    """
    feature = features(spec, tensors, image[None])[0].astype(np.float32)
    return {**tensors, "golden.image": image, "golden.feature": feature}


def _largest(spec: SubVitSpec) -> int:
    """Numbers in one image's largest intermediate, about."""
    widest = max(max(3 * b.heads * spec.head_dim, b.mlp_dim) for b in spec.blocks)
    sizes = [spec.tokens * (widest + spec.tokens)]
    channels = CHANNELS
    for layer, side in zip(spec.tokenizer, spec.grids, strict=False):
        convolved = layer.convolved(side)
        sizes.append(convolved**2 * max(layer.kernel_size**2 * channels, layer.channels))
        channels = layer.channels
    return max(sizes)


def _forward(spec: SubVitSpec, values: Mapping[str, F64], images: NDArray[np.uint8]) -> F64:
    stream = _embed(spec, values, images)
    for index, block in enumerate(spec.blocks):
        prefix = f"blocks.{index}."
        normed = _normalise(stream, spec.norm_eps)
        qkv = _linear(values, prefix + "attn.qkv", normed)
        mixed = _attention(qkv, block.heads, spec.head_dim)
        stream = stream + _linear(values, prefix + "attn.proj", mixed)
        normed = _normalise(stream, spec.norm_eps)
        if spec.residual_norm:
            stream = normed = (
                normed * values[prefix + "norm2.weight"] + values[prefix + "norm2.bias"]
            )
        hidden = _gelu(_linear(values, prefix + "mlp.fc1", normed))
        stream = stream + _linear(values, prefix + "mlp.fc2", hidden)
    if spec.tokenizer:
        normed = _normalise(stream, spec.norm_eps)
        weights = _softmax(normed @ values["pool.weight"])
        pooled: F64 = (weights[:, None] @ normed)[:, 0]  # Hassani et al. 2021, eq. 3 to 5
        return pooled
    prefix_tokens = _normalise(stream[:, : spec.prefix_tokens], spec.norm_eps)
    return prefix_tokens.reshape(len(images), spec.feature_dim)


def _embed(spec: SubVitSpec, values: Mapping[str, F64], images: NDArray[np.uint8]) -> F64:
    shape = (len(images), spec.tokens, spec.embed_dim)
    stream = np.broadcast_to(values["pos_embed"], shape).copy()
    if spec.tokenizer:
        maps = images - values["tokenizer.offset"]
        for index, layer in enumerate(spec.tokenizer):
            windows = _windows(maps, layer.kernel_size, layer.stride, layer.padding, 0.0)
            kernels = values[f"tokenizer.{index}.weight"].transpose(3, 1, 2, 0)
            convolved = np.tensordot(windows, kernels, axes=3)
            pooled = _windows(convolved, POOL_SIZE, POOL_STRIDE, POOL_PADDING, -np.inf)
            maps = np.maximum(pooled.max(axis=(-2, -1)), 0)  # as if ReLU came before
        return stream + maps.reshape(shape)
    stream[:, spec.prefix_tokens :] += _patches(spec, images) @ values["patch_embed.weight"].T
    return stream


def _windows(maps: F64, size: int, stride: int, padding: int, fill: float) -> F64:
    """Views of (count, rows, columns, channels, size, size): the squares that a kernel visits."""
    edges = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = np.pad(maps, edges, constant_values=fill)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    return windows[:, ::stride, ::stride]


def _patches(spec: SubVitSpec, images: NDArray[np.uint8]) -> F64:
    grid, patch = spec.image_size // spec.patch_size, spec.patch_size
    tiles = images.reshape(len(images), grid, patch, grid, patch, CHANNELS)
    flat = tiles.transpose(0, 1, 3, 2, 4, 5).reshape(len(images), spec.patches, spec.patch_dim)
    return flat.astype(np.float64)


def _linear(values: Mapping[str, F64], name: str, inputs: F64) -> F64:
    outputs: F64 = inputs @ values[name + ".weight"].T + values[name + ".bias"]
    return outputs


def _normalise(stream: F64, eps: float) -> F64:
    centred = stream - stream.mean(axis=-1, keepdims=True)
    scaled: F64 = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps)
    return scaled


def _attention(qkv: F64, heads: int, head_dim: int) -> F64:
    """Vaswani et al. 2017, eq. (1), its scale folded into Q."""
    count, tokens, _ = qkv.shape
    query, key, value = qkv.reshape(count, tokens, 3, heads, head_dim).transpose(2, 0, 3, 1, 4)
    scores = query @ key.transpose(0, 1, 3, 2)
    mixed = _softmax(scores) @ value
    joined: F64 = mixed.transpose(0, 2, 1, 3).reshape(count, tokens, heads * head_dim)
    return joined


def _softmax(scores: F64) -> F64:
    exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights: F64 = exponents / exponents.sum(axis=-1, keepdims=True)
    return weights


def _gelu(inputs: F64) -> F64:
    """Hendrycks & Gimpel 2016, eq. (2): x Phi(x)."""
    outputs: F64 = inputs * 0.5 * (1 + _erf(inputs / np.sqrt(2.0)).astype(np.float64))
    return outputs
