"""The network that every peer runs: a folded sub-ViT, told to the writer of a model file."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.spec import CHANNELS, SubVitSpec
from devit_iot.bundle.storage import Array

F32 = NDArray[np.float32]
Value = TypeVar("Value")


class Linear(NamedTuple):
    """``y = weight x + bias``: float32[out, in] and float32[out]."""

    weight: F32
    bias: F32


class Graph(Protocol[Value]):
    """One format of model files: takes the operations in order, knows its own layout of maps.

    A map is what a convolution makes of an image; a sheet is float32[rows, embed_dim].
    """

    def pixels(self, image_size: int) -> Value:
        """The input, a map of raw RGB pixels as float32."""

    def conv(self, maps: Value, kernel: F32, stride: int, padding: int) -> Value:
        """Convolution without bias; ``kernel`` is float32[out, rows, columns, in]."""

    def relu_max_pool(self, maps: Value) -> Value:
        """A CCT's ReLU and pooling (:class:`devit_iot.bundle.spec.ConvSpec`)."""

    def sheet(self, maps: Value, rows: int, columns: int) -> Value:
        """A map as a sheet, one row for each of its points."""

    def below(self, top: F32, sheet: Value) -> Value:
        """The constant rows ``top`` with ``sheet`` below them."""

    def add_constant(self, sheet: Value, constant: F32) -> Value:
        """Sum of a sheet and a constant of its shape."""

    def add(self, sheet: Value, other: Value) -> Value:
        """Sum of two sheets."""

    def normalise(self, sheet: Value, scale: F32 | None = None, shift: F32 | None = None) -> Value:
        """Layer norm of each row, then scale and shift if there are some."""

    def linear(self, sheet: Value, layer: Linear) -> Value:
        """Apply ``layer`` to each row."""

    def gelu(self, sheet: Value) -> Value:
        """GELU, x Phi(x), not its tanh approximation."""

    def attention(self, sheet: Value, heads: int, qkv: Linear, projection: Linear) -> Value:
        """Self-attention and its output projection; the scale of the scores is in ``qkv``."""

    def first_rows(self, sheet: Value, count: int) -> Value:
        """The first ``count`` rows."""

    def pool(self, sheet: Value, weight: F32) -> Value:
        """The mean of all rows, weighted by the softmax over them of ``sheet @ weight``."""


def describe(spec: SubVitSpec, tensors: Mapping[str, Array], graph: Graph[Value]) -> Value:
    """Say the network to ``graph``; returns the feature, as a sheet.

    Pixels are what :func:`peer_pixels` makes.

    Args:
        spec: the part's shape.
        tensors: its engine tensors, see :func:`devit_iot.bundle.spec.tensors`.
        graph: takes the operations.
    """

    def layer(name: str) -> Linear:
        return Linear(tensors[name + ".weight"], tensors[name + ".bias"])

    stream = _embed(spec, tensors, graph)
    for index, block in enumerate(spec.blocks):
        prefix = f"blocks.{index}."
        normed = graph.normalise(stream)
        qkv, projection = layer(prefix + "attn.qkv"), layer(prefix + "attn.proj")
        stream = graph.add(stream, graph.attention(normed, block.heads, qkv, projection))
        if spec.residual_norm:
            scale, shift = (tensors[f"{prefix}norm2.{kind}"] for kind in ("weight", "bias"))
            stream = normed = graph.normalise(stream, scale, shift)
        else:
            normed = graph.normalise(stream)
        hidden = graph.gelu(graph.linear(normed, layer(prefix + "mlp.fc1")))
        stream = graph.add(stream, graph.linear(hidden, layer(prefix + "mlp.fc2")))
    if spec.tokenizer:
        return graph.pool(graph.normalise(stream), tensors["pool.weight"])
    return graph.normalise(graph.first_rows(stream, spec.prefix_tokens))


def peer_pixels(tensors: Mapping[str, Array], image: NDArray[np.uint8], layout: str) -> F32:
    """The image as peers take it: float32, one image, ``layout`` NCHW or NHWC.

    A tokenizer's offset is subtracted already, as other engines' users normalise before they run.
    """
    pixels = image.astype(np.float32)
    if "tokenizer.offset" in tensors:
        pixels -= tensors["tokenizer.offset"]
    ordered = pixels.transpose(2, 0, 1) if layout == "NCHW" else pixels
    return np.ascontiguousarray(ordered[None])


def _embed(spec: SubVitSpec, tensors: Mapping[str, Array], graph: Graph[Value]) -> Value:
    maps, positions = graph.pixels(spec.image_size), tensors["pos_embed"]
    if spec.tokenizer:
        for index, layer in enumerate(spec.tokenizer):
            kernel = tensors[f"tokenizer.{index}.weight"]
            maps = graph.relu_max_pool(graph.conv(maps, kernel, layer.stride, layer.padding))
    else:
        size = spec.patch_size
        kernel = tensors["patch_embed.weight"].reshape(spec.embed_dim, size, size, CHANNELS)
        maps = graph.conv(maps, kernel, size, 0)
    sheet = graph.sheet(maps, spec.patches, spec.embed_dim)
    patches = graph.add_constant(sheet, positions[spec.prefix_tokens :])
    return graph.below(positions[: spec.prefix_tokens], patches) if spec.prefix_tokens else patches
