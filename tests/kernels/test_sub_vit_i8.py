"""The whole forward pass in int8 against the float64 one on the same bytes."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from devit_iot.bundle.spec import BlockSpec, SubVitSpec
from devit_iot.bundle.storage import is_matrix
from tests.kernels.gemms import MAX_DEPTH, levels
from tests.kernels.reference import features, random_tensors
from tests.kernels.sub_vits import (
    BLOCKS,
    BOTH,
    IN_PORTIONS,
    UNEVEN,
    build,
    build_i8,
    cct_specs,
    computed_i8,
    error,
    packed_i8,
    random_image,
    run,
)


def bound(spec: SubVitSpec, isa: str) -> float:
    """What csrc/runtime/sub_vit.h promises."""
    depths = [width for b in spec.blocks for width in (b.heads * spec.head_dim, b.mlp_dim)]
    layers = zip(spec.tokenizer, spec.tokenizer[1:], strict=False)
    depths += [after.kernel_size**2 * before.channels for before, after in layers]
    worst = levels(max(spec.embed_dim, *depths), isa)
    return 8 * math.sqrt(len(spec.blocks) + len(spec.tokenizer)) / worst


def check(spec: SubVitSpec, seed: int, isa: str, threads: int) -> None:
    weights, image = random_tensors(spec, seed), random_image(spec, seed)
    found = run(build_i8(spec, weights, threads=threads, isa=isa), image)
    wanted = features(spec, computed_i8(spec, weights), image)
    assert error(found, wanted) <= bound(spec, isa)


@given(
    embed_dim=st.integers(8, 50),
    head_dim=st.integers(1, 20),
    grid=st.integers(1, 6),
    blocks=BLOCKS,
    threads=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_matches_float64(
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
def test_wide_layers_in_portions_match_float64(isa: str, spec: SubVitSpec, threads: int) -> None:
    check(spec, 0, isa, threads)


@given(spec=cct_specs(), threads=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_a_cct_matches_float64(isa: str, spec: SubVitSpec, threads: int, seed: int) -> None:
    check(spec, seed, isa, threads)


@pytest.mark.parametrize("pixel", [0, 255])
def test_black_and_white_images_match_float64(isa: str, pixel: int) -> None:
    weights = random_tensors(UNEVEN, 0)
    image = np.full((UNEVEN.image_size, UNEVEN.image_size, 3), pixel, np.uint8)
    wanted = features(UNEVEN, computed_i8(UNEVEN, weights), image)
    assert error(run(build_i8(UNEVEN, weights, isa=isa), image), wanted) <= bound(UNEVEN, isa)


def test_faint_details_of_a_bright_image_are_not_rounded_away(isa: str) -> None:
    spec = SubVitSpec(64, 64, 16, 64, 16, 1, (BlockSpec(4, 64),))
    weights = random_tensors(spec, 0)
    patch = weights["patch_embed.weight"]
    patch -= patch.mean(axis=1, keepdims=True)  # blind to brightness
    patch *= 40
    weights["pos_embed"] *= 0
    image = np.random.default_rng(0).integers(249, 252, (64, 64, 3), np.uint8)
    wanted = features(spec, computed_i8(spec, weights), image)
    assert error(run(build_i8(spec, weights, isa=isa), image), wanted) <= 0.1


@BOTH
def test_it_is_not_float32(isa: str, spec: SubVitSpec) -> None:
    weights, image = random_tensors(spec, 0), random_image(spec, 0)
    model = build_i8(spec, weights, isa=isa)
    assert (model.dtype, build(spec, weights, isa=isa).dtype) == ("int8", "float32")
    wanted = features(spec, computed_i8(spec, weights), image)
    assert error(run(model, image), wanted) > 1e-6


def test_weights_take_two_bytes_at_most(isa: str) -> None:
    spec = SubVitSpec(32, 32, 16, 128, 32, 1, (BlockSpec(4, 512),) * 2)
    weights = random_tensors(spec, 0)
    matrices = sum(weights[tensor.name].size for tensor in spec.tensors() if is_matrix(tensor))
    floats, small = (
        build_fn(spec, weights, threads=1, isa=isa).memory_bytes for build_fn in (build, build_i8)
    )
    assert small <= floats - 1.8 * matrices


NAME = "blocks.0.attn.qkv.weight"


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_a_bad_scale_is_refused(bad: float) -> None:
    weights = packed_i8(UNEVEN, random_tensors(UNEVEN, 0))
    weights[NAME][1][3] = bad
    with pytest.raises(ValueError, match=f"'{NAME}' has a scale that is not positive and finite"):
        build(UNEVEN, weights, dtype="int8")


def test_a_wrong_tensor_is_named() -> None:
    weights = packed_i8(UNEVEN, random_tensors(UNEVEN, 0))
    matrix, scale = weights[NAME]
    wide: NDArray[np.int16] = matrix.astype(np.int16)
    wrong = [matrix, (matrix,), (wide, scale), (matrix, scale.astype(np.float64)), [matrix, scale]]
    for pair in wrong:
        weights[NAME] = pair
        with pytest.raises(TypeError, match=f"'{NAME}' must be a pair of C-contiguous arrays"):
            build(UNEVEN, weights, dtype="int8")
    for pair, named in (
        ((matrix[:-1], scale), "tensor"),
        ((matrix, scale[:-1]), "scale of tensor"),
    ):
        weights[NAME] = pair
        with pytest.raises(ValueError, match=f"^{named} '{NAME}' must have shape"):
            build(UNEVEN, weights, dtype="int8")


def test_rows_that_could_overflow_are_refused() -> None:
    spec = msgspec.structs.replace(UNEVEN, embed_dim=8, blocks=(BlockSpec(1, MAX_DEPTH + 1),))
    with pytest.raises(ValueError, match=r"fc2.weight' has rows of 131073 numbers, int8 takes"):
        build_i8(spec, random_tensors(spec, 0))


def test_other_dtypes_are_refused() -> None:
    message = "dtype must be 'float32', 'float16' or 'int8', got 'float64'"
    with pytest.raises(ValueError, match=message):
        build(UNEVEN, random_tensors(UNEVEN, 0), dtype="float64")
