"""The whole forward pass on halves, against float64 and against float32 on the same weights."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devit_iot.bundle.spec import BlockSpec, SubVitSpec
from devit_iot.bundle.storage import as_stored, is_matrix
from tests.kernels.gemms import in_halves
from tests.kernels.reference import features, random_tensors
from tests.kernels.sub_vits import (
    BLOCKS,
    BOTH,
    IN_PORTIONS,
    UNEVEN,
    build,
    build_f16,
    cct_specs,
    error,
    packed_f16,
    random_image,
    run,
)

NAME = "blocks.0.attn.qkv.weight"
LATER_CONVOLUTION = "tokenizer.1.weight"


def check(spec: SubVitSpec, seed: int, isa: str, threads: int) -> None:
    """What csrc/runtime/sub_vit.h promises."""
    weights, image = random_tensors(spec, seed), random_image(spec, seed)
    rounded = as_stored(spec, weights, "float16")
    model = build_f16(spec, weights, threads=threads, isa=isa)
    assert model.dtype == "float16"
    found = run(model, image)
    if in_halves(isa):
        wanted = features(spec, rounded, image)
        layers = len(spec.blocks) + len(spec.tokenizer)
        assert error(found, wanted) <= 2.0**-6 * math.sqrt(layers)
    else:
        same = run(build(spec, rounded, threads=threads, isa=isa), image)
        np.testing.assert_array_equal(found, same)


@given(
    embed_dim=st.integers(8, 50),
    head_dim=st.integers(1, 20),
    grid=st.integers(1, 6),
    blocks=BLOCKS,
    threads=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_matches_float64_or_float32_exactly(
    isa: str,
    embed_dim: int,
    head_dim: int,
    grid: int,
    blocks: list[BlockSpec],
    threads: int,
    seed: int,
) -> None:
    side = 4 * grid
    spec = SubVitSpec(side, side, 4, embed_dim, head_dim, 1, tuple(blocks))
    check(spec, seed, isa, threads)


@IN_PORTIONS
@pytest.mark.parametrize("threads", [1, 3])
def test_wide_layers_in_portions_match_float64_or_float32_exactly(
    isa: str, spec: SubVitSpec, threads: int
) -> None:
    check(spec, 0, isa, threads)


@given(spec=cct_specs(), threads=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_a_cct_matches_float64_or_float32_exactly(
    isa: str, spec: SubVitSpec, threads: int, seed: int
) -> None:
    check(spec, seed, isa, threads)


def test_weights_take_two_bytes(isa: str) -> None:
    spec = SubVitSpec(32, 32, 16, 128, 32, 1, (BlockSpec(4, 512),) * 2)
    weights = random_tensors(spec, 0)
    matrices = sum(weights[tensor.name].size for tensor in spec.tensors() if is_matrix(tensor))
    floats, small = (
        build_fn(spec, weights, threads=1, isa=isa).memory_bytes for build_fn in (build, build_f16)
    )
    assert small <= floats - 1.9 * matrices


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@BOTH
def test_a_matrix_that_is_not_finite_is_named(spec: SubVitSpec, bad: float) -> None:
    name = LATER_CONVOLUTION if spec.tokenizer else NAME
    weights = packed_f16(spec, random_tensors(spec, 0))
    weights[name].flat[-1] = bad
    with pytest.raises(ValueError, match=f"tensor '{name}' holds NaN or infinity"):
        build(spec, weights, dtype="float16")


def test_a_wrong_tensor_is_named() -> None:
    weights = packed_f16(UNEVEN, random_tensors(UNEVEN, 0))
    good = weights[NAME]
    for wrong in (good.astype(np.float32), good.view(np.uint16), np.repeat(good, 2, -1)[:, ::2]):
        weights[NAME] = wrong
        with pytest.raises(TypeError, match=f"'{NAME}' must be a C-contiguous float16 array"):
            build(UNEVEN, weights, dtype="float16")
    weights[NAME] = good[:-1]
    with pytest.raises(ValueError, match=f"tensor '{NAME}' must have shape"):
        build(UNEVEN, weights, dtype="float16")
