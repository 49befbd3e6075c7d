"""csrc/kernels/layer_norm/layer_norm_f32.h: the values, the bound and what the binding refuses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devit_iot import _core
from tests.kernels.guarded import guarded, guarded_copy
from tests.kernels.reference import F32, F64, UNIT, layer_norm

EPS = float(np.float32(1e-6))


def error_bound(x: F32) -> F64:
    wide = x.astype(np.float64)
    dim = x.shape[1]
    d = UNIT * (dim + 3) * np.abs(wide).mean(axis=1) / np.sqrt(wide.var(axis=1) + EPS)
    scale = UNIT * (dim + 16) + d**2
    out: F64 = d[:, None] + np.abs(layer_norm(wide, EPS)) * scale[:, None]
    return out


@given(
    rows=st.integers(1, 20),
    dim=st.integers(1, 800),
    offset=st.sampled_from([0.0, 1.0, -50.0]),
    spread=st.sampled_from([1e-3, 1.0, 1e4]),
    seed=st.integers(0, 2**32 - 1),
)
def test_matches_float64(
    isa: str, rows: int, dim: int, offset: float, spread: float, seed: int
) -> None:
    values = np.random.default_rng(seed).standard_normal((rows, dim), np.float32)
    x = guarded_copy(values * np.float32(spread) + np.float32(offset))
    out = guarded((rows, dim))
    _core.layer_norm(x, out.array, EPS, isa=isa)
    out.assert_intact()
    wanted = layer_norm(x.astype(np.float64), EPS)
    assert np.all(np.abs(out.array - wanted) <= error_bound(x))


def test_may_write_in_place(isa: str) -> None:
    x = np.random.default_rng(0).standard_normal((5, 21), np.float32)
    out = np.empty_like(x)
    _core.layer_norm(x, out, EPS, isa=isa)
    _core.layer_norm(x, x, EPS, isa=isa)
    np.testing.assert_array_equal(x, out)


def test_equal_elements_give_zeros(isa: str) -> None:
    out = np.empty((2, 16), np.float32)
    _core.layer_norm(np.full((2, 16), 3.0, np.float32), out, EPS, isa=isa)
    np.testing.assert_array_equal(out, 0)


def test_wrong_arguments_are_refused() -> None:
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"^out must have"):
        _core.layer_norm(x, np.zeros((3, 2), np.float32), EPS)
    with pytest.raises(ValueError, match="eps must be positive"):
        _core.layer_norm(x, x, 0.0)
    with pytest.raises(TypeError):
        _core.layer_norm(x.astype(np.float64), x, EPS)
