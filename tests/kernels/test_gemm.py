"""csrc/kernels/gemm/gemm_f32.h: the values, the bounds and what the binding refuses."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from devit_iot import _core
from tests.kernels.gemms import Epilogue, gelu_bound, reference
from tests.kernels.guarded import guarded, guarded_copy
from tests.kernels.reference import F32, gelu


@given(
    rows=st.integers(1, 40),
    depth=st.integers(1, 70),
    cols=st.integers(1, 50),
    epilogue=st.sampled_from(["none", "gelu", "residual"]),
    seed=st.integers(0, 2**32 - 1),
)
@example(rows=197, depth=192, cols=64, epilogue="gelu", seed=0)
@example(rows=2, depth=768, cols=192, epilogue="residual", seed=0)
def test_matches_float64(
    isa: str, rows: int, depth: int, cols: int, epilogue: Epilogue, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    a, weight, bias, old = (
        guarded_copy(rng.standard_normal(shape, np.float32))
        for shape in ((rows, depth), (cols, depth), (cols,), (rows, cols))
    )
    out = guarded((rows, cols))
    if epilogue == "residual":
        out.array[...] = old
    _core.gemm(a, weight, bias, out.array, epilogue=epilogue, isa=isa)
    out.assert_intact()
    wanted, bound = reference(a, weight, bias, old, epilogue)
    assert np.all(np.abs(out.array - wanted) <= bound)


@pytest.mark.parametrize("epilogue", ["none", "gelu", "residual"])
def test_a_row_does_not_depend_on_its_tile(isa: str, epilogue: Epilogue) -> None:
    rng = np.random.default_rng(5)
    a = rng.standard_normal((19, 33), np.float32)
    weight = rng.standard_normal((21, 33), np.float32)
    bias = rng.standard_normal(21, np.float32)
    together = np.ones((19, 21), np.float32)
    _core.gemm(a, weight, bias, together, epilogue=epilogue, isa=isa)
    for row in range(len(a)):
        alone = np.ones((1, 21), np.float32)
        _core.gemm(a[row : row + 1], weight, bias, alone, epilogue=epilogue, isa=isa)
        np.testing.assert_array_equal(alone[0], together[row])


def run_gelu(x: F32, isa: str) -> F32:
    out = np.empty((len(x), 1), np.float32)
    one = np.ones((1, 1), np.float32)
    _core.gemm(x[:, None], one, np.zeros(1, np.float32), out, epilogue="gelu", isa=isa)
    return out[:, 0]


def test_gelu_is_exact_erf_over_the_whole_range(isa: str) -> None:
    magnitudes = np.geomspace(1e-38, 3e38, 4001).astype(np.float32)
    near = np.linspace(-14, 14, 20001, dtype=np.float32)
    x = np.concatenate([-magnitudes, magnitudes, near, np.zeros(1, np.float32)])
    wide = x.astype(np.float64)
    assert np.all(np.abs(run_gelu(x, isa) - gelu(wide)) <= gelu_bound(wide))


def test_nan_stays_nan(isa: str) -> None:
    assert np.isnan(run_gelu(np.full(1, np.nan, np.float32), isa)[0])


def zeros(*shape: int, dtype: type = np.float32) -> F32:
    return np.zeros(shape, dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32])
@pytest.mark.parametrize("wrong", range(4))
def test_other_dtypes_are_refused_not_converted(wrong: int, dtype: type) -> None:
    arrays = [zeros(2, 3), zeros(4, 3), zeros(4), zeros(2, 4)]
    arrays[wrong] = arrays[wrong].astype(dtype)
    with pytest.raises(TypeError):
        _core.gemm(arrays[0], arrays[1], arrays[2], arrays[3])


def test_a_transposed_matrix_is_refused_not_copied() -> None:
    with pytest.raises(TypeError):
        _core.gemm(zeros(3, 2).T, zeros(4, 3), zeros(4), zeros(2, 4))


@pytest.mark.parametrize(
    ("shapes", "name"),
    [
        (((2, 3), (4, 5), (4,), (2, 4)), "weight"),
        (((2, 3), (4, 3), (5,), (2, 4)), "bias"),
        (((2, 3), (4, 3), (4,), (4, 2)), "out"),
        (((6,), (4, 3), (4,), (2, 4)), "a"),
        (((0, 3), (4, 3), (4,), (0, 4)), "a"),
    ],
)
def test_wrong_shapes_are_named(shapes: tuple[tuple[int, ...], ...], name: str) -> None:
    a, weight, bias, out = (zeros(*shape) for shape in shapes)
    with pytest.raises(ValueError, match=f"^{name} must have"):
        _core.gemm(a, weight, bias, out)


def test_a_read_only_output_is_refused() -> None:
    out = zeros(2, 4)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="not writeable"):
        _core.gemm(zeros(2, 3), zeros(4, 3), zeros(4), out)


def test_an_unknown_epilogue_is_refused() -> None:
    with pytest.raises(ValueError, match="epilogue must be 'none', 'gelu' or 'residual', got 'x'"):
        _core.gemm(zeros(2, 3), zeros(4, 3), zeros(4), zeros(2, 4), epilogue="x")  # type: ignore[arg-type]
