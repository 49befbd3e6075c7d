"""What our engine computes for one image, counted so that a few rates tell its time."""

from typing import NamedTuple

from devit_iot.bundle.spec import CHANNELS, SubVitSpec


class Work(NamedTuple):
    """The counts of one image.

    Attributes:
        linear: multiply-accumulates of convolutions and linear layers.
        attention: multiply-accumulates of attention's two products.
        values: numbers that layer norms, softmax, GELU and sums pass over.
    """

    linear: int
    attention: int
    values: int


def work(spec: SubVitSpec) -> Work:
    """The work of one image.

    It is a little less than :func:`devit_iot.bundle.spec.macs`: the engine's last block computes
    only the rows that the feature is made of, the prefix tokens where there are some.
    """
    linear = 0 if spec.tokenizer else spec.patches * spec.patch_dim * spec.embed_dim
    attention, values, channels = 0, 0, CHANNELS
    for layer, side in zip(spec.tokenizer, spec.grids, strict=False):
        pixels = layer.convolved(side) ** 2
        linear += pixels * layer.kernel_size**2 * channels * layer.channels
        values += pixels * layer.channels
        channels = layer.channels
    for index, block in enumerate(spec.blocks):
        inner = block.heads * spec.head_dim
        last = index == len(spec.blocks) - 1
        rows = spec.prefix_tokens if last and spec.prefix_tokens else spec.tokens
        linear += 3 * spec.tokens * inner * spec.embed_dim
        linear += rows * (inner + 2 * block.mlp_dim) * spec.embed_dim
        attention += 2 * rows * spec.tokens * inner
        values += spec.tokens * (spec.embed_dim + 3 * inner)
        values += rows * (3 * spec.embed_dim + inner + block.mlp_dim)
    return Work(linear, attention, values)
