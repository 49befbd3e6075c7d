"""The folded sub-ViT in float64, the slow and obvious way: what every engine is held to."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.network import Linear, sub_vit
from devit_iot.bundle.spec import (
    CHANNELS,
    POOL_PADDING,
    POOL_SIZE,
    POOL_STRIDE,
    ConvSpec,
    SubVitSpec,
)
from devit_iot.bundle.storage import Array
from devit_iot.export.fold import F64

BATCH_ELEMENTS = 2**20
"""Bounds the largest intermediate of a batch, in numbers."""

_erf = np.frompyfunc(math.erf, 1, 1)


def features(spec: SubVitSpec, tensors: Mapping[str, Array], images: NDArray[np.uint8]) -> F64:
    """The features of a batch, see :func:`devit_iot.bundle.network.sub_vit`.

    Args:
        spec: the shape of the sub-ViT.
        tensors: the engine tensors of :func:`devit_iot.bundle.spec.tensors`.
        images: uint8[count, image_size, image_size, 3], RGB.

    Returns:
        float64[count, feature_dim].
    """
    values = {name: np.asarray(array, np.float64) for name, array in tensors.items()}
    batch = max(1, BATCH_ELEMENTS // _largest(spec))
    chunks = [images[start : start + batch] for start in range(0, len(images), batch)]
    arrays = _Arrays(spec)
    found = [sub_vit(spec, values, arrays, chunk.astype(np.float64)) for chunk in chunks]
    return np.concatenate(found).reshape(len(images), spec.feature_dim)


def with_golden(
    spec: SubVitSpec, tensors: Mapping[str, Array], image: NDArray[np.uint8]
) -> dict[str, Array]:
    """``tensors`` and the golden pair that proves an engine: an image and its feature.

    Args:
        spec: the shape of the sub-ViT.
        tensors: the part's engine tensors.
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


class _Arrays:
    """See :class:`devit_iot.bundle.network.Operations`: float64, several images at a time.

    Maps are [count, rows, columns, channels], sheets [count, rows, width].
    """

    def __init__(self, spec: SubVitSpec) -> None:
        self._spec = spec

    def less(self, pixels: F64, offset: F64) -> F64:
        """Pixels less one number for each channel."""
        return pixels - offset

    def patches(self, pixels: F64, weight: F64) -> F64:
        """A linear layer of each patch: its rows, columns and channels, one after another."""
        spec, count = self._spec, len(pixels)
        grid, patch = spec.image_size // spec.patch_size, spec.patch_size
        tiles = pixels.reshape(count, grid, patch, grid, patch, CHANNELS)
        flat = tiles.transpose(0, 1, 3, 2, 4, 5).reshape(count, spec.patches, spec.patch_dim)
        rows: F64 = flat @ weight.T
        return rows

    def conv(self, maps: F64, kernel: F64, layer: ConvSpec) -> F64:
        """Convolution: the kernel at every square that it visits."""
        windows = _windows(maps, layer.kernel_size, layer.stride, layer.padding, 0.0)
        convolved: F64 = np.tensordot(windows, kernel.transpose(3, 1, 2, 0), axes=3)
        return convolved

    def relu_max_pool(self, maps: F64) -> F64:
        """The largest of each square, or 0: as if ReLU came before."""
        windows = _windows(maps, POOL_SIZE, POOL_STRIDE, POOL_PADDING, -np.inf)
        pooled: F64 = np.maximum(windows.max(axis=(-2, -1)), 0)
        return pooled

    def sheet(self, maps: F64) -> F64:
        """A map as a sheet."""
        count, rows, columns, channels = maps.shape
        return maps.reshape(count, rows * columns, channels)

    def add_positions(self, sheet: F64, positions: F64) -> F64:
        """The sheet is added to the last rows of the positions."""
        stream = np.broadcast_to(positions, (len(sheet), *positions.shape)).copy()
        stream[:, len(positions) - sheet.shape[1] :] += sheet
        return stream

    def add(self, sheet: F64, other: F64) -> F64:
        """Sum."""
        return sheet + other

    def normalise(self, sheet: F64, scale: F64 | None = None, shift: F64 | None = None) -> F64:
        """Layer norm (Ba et al. 2016, eq. 4)."""
        centred = sheet - sheet.mean(axis=-1, keepdims=True)
        variance = (centred**2).mean(axis=-1, keepdims=True)
        normed: F64 = centred / np.sqrt(variance + self._spec.norm_eps)
        if scale is not None:
            normed = normed * scale
        return normed if shift is None else normed + shift

    def linear(self, sheet: F64, layer: Linear[F64]) -> F64:
        """A matrix product and a bias."""
        outputs: F64 = sheet @ layer.weight.T + layer.bias
        return outputs

    def gelu(self, sheet: F64) -> F64:
        """Exact GELU, by erf."""
        outputs: F64 = sheet * 0.5 * (1 + _erf(sheet / np.sqrt(2.0)).astype(np.float64))
        return outputs

    def attention(self, sheet: F64, heads: int, qkv: Linear[F64], projection: Linear[F64]) -> F64:
        """Softmax of the products of queries and keys, times the values."""
        count, tokens, _ = sheet.shape
        apart = self.linear(sheet, qkv).reshape(count, tokens, 3, heads, self._spec.head_dim)
        query, key, value = apart.transpose(2, 0, 3, 1, 4)
        mixed = _softmax(query @ key.transpose(0, 1, 3, 2)) @ value
        return self.linear(mixed.transpose(0, 2, 1, 3).reshape(count, tokens, -1), projection)

    def first_rows(self, sheet: F64, count: int) -> F64:
        """The first rows."""
        return sheet[:, :count]

    def pool(self, sheet: F64, weight: F64) -> F64:
        """The mean of the rows, by the softmax of their scores."""
        shares = _softmax(sheet @ weight)
        pooled: F64 = shares[:, None] @ sheet
        return pooled


def _windows(maps: F64, size: int, stride: int, padding: int, fill: float) -> F64:
    """Views of (count, rows, columns, channels, size, size): the squares that a kernel visits."""
    edges = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = np.pad(maps, edges, constant_values=fill)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    return windows[:, ::stride, ::stride]


def _softmax(scores: F64) -> F64:
    exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights: F64 = exponents / exponents.sum(axis=-1, keepdims=True)
    return weights
