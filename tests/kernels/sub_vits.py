"""Sub-ViTs of uneven shapes, built and run by the C++ module."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

from devit_iot import _core
from devit_iot.bundle.spec import CHANNELS, BlockSpec, ConvSpec, SubVitSpec
from devit_iot.bundle.storage import as_stored, is_matrix, pack
from tests.kernels.reference import F32, F64, UNIT

BLOCKS = st.lists(
    st.builds(BlockSpec, heads=st.integers(1, 4), mlp_dim=st.integers(1, 50)),
    min_size=1,
    max_size=3,
)


UNEVEN = SubVitSpec(35, 35, 5, 37, 13, 2, (BlockSpec(3, 41), BlockSpec(1, 5), BlockSpec(2, 70)))


CCT = SubVitSpec(
    35, 35, 0, 37, 13, 0, UNEVEN.blocks, 1e-5, (ConvSpec(11, 7, 2, 3), ConvSpec(37, 3, 1, 1)),
    residual_norm=True,
)  # fmt: skip


LONG = SubVitSpec(72, 72, 4, 32, 16, 1, (BlockSpec(1, 600), BlockSpec(2, 600)))


LONG_CCT = SubVitSpec(
    72, 72, 0, 32, 16, 0, LONG.blocks, 1e-5, (ConvSpec(8, 3, 1, 1), ConvSpec(32, 3, 1, 1)),
    residual_norm=True,
)  # fmt: skip


IN_PORTIONS = pytest.mark.parametrize("spec", [LONG, LONG_CCT], ids=["vit", "cct"])
"""Of some 325 tokens, which are more than the engine takes at a time in the wide layers."""


BOTH = pytest.mark.parametrize("spec", [UNEVEN, CCT], ids=["vit", "cct"])


def build(spec: SubVitSpec, weights: Mapping[str, F32], **kwargs: Any) -> _core.SubVit:  # noqa: ANN401
    return _core.SubVit(
        image_size=spec.image_size,
        patch_size=spec.patch_size,
        embed_dim=spec.embed_dim,
        head_dim=spec.head_dim,
        prefix_tokens=spec.prefix_tokens,
        blocks=[(block.heads, block.mlp_dim) for block in spec.blocks],
        norm_eps=spec.norm_eps,
        tensors=weights,
        tokenizer=[msgspec.structs.astuple(layer) for layer in spec.tokenizer],
        residual_norm=spec.residual_norm,
        **kwargs,
    )


def random_image(spec: SubVitSpec, seed: int) -> np.ndarray[tuple[int, int, int], Any]:
    shape = (spec.image_size, spec.image_size, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def run(model: _core.SubVit, image: Any) -> F32:  # noqa: ANN401
    out = np.full(model.feature_dim, np.nan, np.float32)
    model.features(image, out)
    return out


@st.composite
def cct_specs(draw: st.DrawFn) -> SubVitSpec:
    """One to three convolutions with kernels of any size, odd sides."""
    embed_dim = draw(st.integers(8, 50))
    channels = draw(st.lists(st.integers(1, 20), max_size=2))
    layers = [
        ConvSpec(c, k, draw(st.integers(1, 4)), draw(st.integers(0, k - 1)))
        for c in [*channels, embed_dim]
        for k in [draw(st.sampled_from([1, 2, 3, 5, 7]))]
    ]
    side = draw(st.integers(1, 20))
    spec = SubVitSpec(
        side, side, 0, embed_dim, draw(st.integers(1, 20)), 0, tuple(draw(BLOCKS)), 1e-5,
        tuple(layers), residual_norm=draw(st.booleans()),
    )  # fmt: skip
    assume(min(spec.grids) >= 1)
    return spec


def tolerance(spec: SubVitSpec) -> float:
    """Roundings of one layer add up like sqrt(depth), and each block adds a few layers."""
    widths = [max(b.heads * spec.head_dim, b.mlp_dim, spec.embed_dim) for b in spec.blocks]
    layers = zip((CHANNELS, *(c.channels for c in spec.tokenizer)), spec.tokenizer, strict=False)
    depths = [layer.kernel_size**2 * channels for channels, layer in layers]
    depth = 1 + len(spec.blocks) + len(spec.tokenizer)
    return 16 * UNIT * depth * math.sqrt(max(*widths, *depths, spec.patch_dim))


def packed_i8(spec: SubVitSpec, weights: Mapping[str, F32]) -> dict[str, Any]:
    """Matrices as pairs of bytes and scales, as SubVit takes them in int8."""
    out: dict[str, Any] = dict(weights)
    for tensor in spec.tensors():
        if is_matrix(tensor):
            out[tensor.name] = tuple(pack(tensor, weights[tensor.name], "int8").values())
    return out


def computed_i8(spec: SubVitSpec, weights: Mapping[str, F32]) -> dict[str, F32]:
    """The numbers that SubVit multiplies in int8: the patch embedding is rounded too."""
    rounded = as_stored(spec, weights, "int8")
    name = "patch_embed.weight"
    if name in rounded:
        largest = np.abs(rounded[name]).max(axis=1, keepdims=True)
        scale = np.where(largest > 0, largest / np.float32(127), np.float32(1))
        levels = rounded[name] / scale
        # A half goes away from zero, as with lround(); rint() would be a whole level off.
        rounded[name] = np.trunc(levels + np.copysign(np.float32(0.5), levels)) * scale
    return rounded


def build_i8(spec: SubVitSpec, weights: Mapping[str, F32], **kwargs: Any) -> _core.SubVit:  # noqa: ANN401
    return build(spec, packed_i8(spec, weights), dtype="int8", **kwargs)


def packed_f16(spec: SubVitSpec, weights: Mapping[str, F32]) -> dict[str, Any]:
    """Matrices as halves, as SubVit takes them in float16."""
    halves: dict[str, Any] = dict(weights)
    for tensor in spec.tensors():
        if is_matrix(tensor):
            halves[tensor.name] = weights[tensor.name].astype(np.float16)
    return halves


def build_f16(spec: SubVitSpec, weights: Mapping[str, F32], **kwargs: Any) -> _core.SubVit:  # noqa: ANN401
    return build(spec, packed_f16(spec, weights), dtype="float16", **kwargs)


def error(found: F32 | F64, wanted: F32 | F64) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
