"""The folded sub-ViT, said once: which operation follows which. Normative: docs/bundle.md.

Whoever computes it in Python, or writes it into another engine's file, brings the operations. The
C++ engine states it by itself, in csrc/runtime, and so does the oracle of the tests,
tests/kernels/reference.py: both would notice a mistake here.
"""

from collections.abc import Mapping
from typing import Generic, NamedTuple, Protocol, TypeVar

from devit_iot.bundle.spec import ConvSpec, SubVitSpec

Value = TypeVar("Value")
Constant = TypeVar("Constant")


class Linear(NamedTuple, Generic[Constant]):
    """``y = weight x + bias``: [out, in] and [out]."""

    weight: Constant
    bias: Constant


class Operations(Protocol[Value, Constant]):
    """The operations, on values and tensors of one kind.

    A value is a map, [rows, columns, channels], or a sheet, [rows, width]. Each implementation has
    a layout of its own, and may take several images at a time. Shapes of constants are those of
    :func:`devit_iot.bundle.spec.tensors`.
    """

    def less(self, pixels: Value, offset: Constant) -> Value:
        """Raw pixels, a map, less one number for each channel."""

    def patches(self, pixels: Value, weight: Constant) -> Value:
        """A sheet of one row for each patch of the raw pixels: ``weight`` times the patch."""

    def conv(self, maps: Value, kernel: Constant, layer: ConvSpec) -> Value:
        """Convolution without bias, its stride and padding those of ``layer``."""

    def relu_max_pool(self, maps: Value) -> Value:
        """A tokenizer's ReLU and pooling (:class:`devit_iot.bundle.spec.ConvSpec`)."""

    def sheet(self, maps: Value) -> Value:
        """A map as a sheet of one row for each of its points."""

    def add_positions(self, sheet: Value, positions: Constant) -> Value:
        """``positions`` with the rows of ``sheet`` added to its last ones: prefix tokens first."""

    def add(self, sheet: Value, other: Value) -> Value:
        """Sum of two sheets."""

    def normalise(
        self, sheet: Value, scale: Constant | None = None, shift: Constant | None = None
    ) -> Value:
        """Layer norm of each row, then scale and shift if there are some."""

    def linear(self, sheet: Value, layer: Linear[Constant]) -> Value:
        """Apply ``layer`` to each row."""

    def gelu(self, sheet: Value) -> Value:
        """GELU, x Phi(x), not its tanh approximation (Hendrycks & Gimpel 2016, eq. 2)."""

    def attention(
        self, sheet: Value, heads: int, qkv: Linear[Constant], projection: Linear[Constant]
    ) -> Value:
        """Self-attention (Vaswani et al. 2017, eq. 1) and its output projection.

        The scale of the scores is folded into ``qkv``.
        """

    def first_rows(self, sheet: Value, count: int) -> Value:
        """The first ``count`` rows."""

    def pool(self, sheet: Value, weight: Constant) -> Value:
        """The sum of all rows, weighted by the softmax over them of ``sheet @ weight``."""


def sub_vit(
    spec: SubVitSpec,
    tensors: Mapping[str, Constant],
    operations: Operations[Value, Constant],
    pixels: Value,
) -> Value:
    """The feature of raw pixels, as a sheet: Dosovitskiy et al. 2021, eq. 1 to 4.

    A network with a tokenizer follows Hassani et al. 2021, eq. 2 to 5.

    Args:
        spec: the part's shape.
        tensors: the part's engine tensors, see :func:`devit_iot.bundle.spec.tensors`.
        operations: what is done with them.
        pixels: a map of RGB pixels, 0 to 255.
    """
    do, stream = operations, _embed(spec, tensors, operations, pixels)
    for index, block in enumerate(spec.blocks):
        prefix = f"blocks.{index}."
        qkv, projection = (_layer(tensors, prefix + name) for name in ("attn.qkv", "attn.proj"))
        mixed = do.attention(do.normalise(stream), block.heads, qkv, projection)
        stream = do.add(stream, mixed)
        if spec.residual_norm:
            stream = normed = do.normalise(stream, *_layer(tensors, prefix + "norm2"))
        else:
            normed = do.normalise(stream)
        hidden = do.gelu(do.linear(normed, _layer(tensors, prefix + "mlp.fc1")))
        stream = do.add(stream, do.linear(hidden, _layer(tensors, prefix + "mlp.fc2")))
    if spec.tokenizer:
        return do.pool(do.normalise(stream), tensors["pool.weight"])
    return do.normalise(do.first_rows(stream, spec.prefix_tokens))


def _layer(tensors: Mapping[str, Constant], name: str) -> Linear[Constant]:
    return Linear(tensors[name + ".weight"], tensors[name + ".bias"])


def _embed(
    spec: SubVitSpec,
    tensors: Mapping[str, Constant],
    do: Operations[Value, Constant],
    pixels: Value,
) -> Value:
    """Pixels -> the residual stream, a sheet of [tokens, embed_dim]."""
    if spec.tokenizer:
        maps = do.less(pixels, tensors["tokenizer.offset"])
        for index, layer in enumerate(spec.tokenizer):
            maps = do.relu_max_pool(do.conv(maps, tensors[f"tokenizer.{index}.weight"], layer))
        sheet = do.sheet(maps)
    else:
        sheet = do.patches(pixels, tensors["patch_embed.weight"])
    return do.add_positions(sheet, tensors["pos_embed"])
