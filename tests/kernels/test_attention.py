"""csrc/kernels/attention/attention_f32.h: the values, the bound and what the binding refuses."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from devit_iot import _core
from tests.kernels.attentions import error_bound, run
from tests.kernels.gemms import in_halves
from tests.kernels.reference import F32, UNIT, attention


@given(
    tokens=st.integers(1, 40),
    heads=st.integers(1, 4),
    head_dim=st.integers(1, 70),
    spread=st.sampled_from([0.0, 0.3, 1.0, 4.0]),  # 0: uniform weights; 4: nearly one-hot
    seed=st.integers(0, 2**32 - 1),
)
@example(tokens=197, heads=3, head_dim=64, spread=1.0, seed=0)
@example(tokens=26, heads=1, head_dim=256, spread=0.3, seed=0)
@example(tokens=33, heads=2, head_dim=255, spread=0.3, seed=0)
def test_matches_float64(
    isa: str, tokens: int, heads: int, head_dim: int, spread: float, seed: int
) -> None:
    qkv = np.random.default_rng(seed).standard_normal((tokens, 3, heads, head_dim), np.float32)
    qkv[:, :2] *= spread
    wanted = attention(qkv.astype(np.float64))
    np.testing.assert_allclose(run(qkv, isa), wanted, rtol=0, atol=error_bound(qkv))


def test_large_scores_do_not_overflow(isa: str) -> None:
    qkv = np.full((3, 3, 1, 4), 1e4, np.float32)
    np.testing.assert_allclose(run(qkv, isa), qkv[:, 2], rtol=4 * UNIT)


def test_the_largest_score_takes_all(isa: str) -> None:
    tokens = 21
    qkv = np.zeros((tokens, 3, 1, 3), np.float32)
    qkv[:, 0, 0, 0] = 1000.0
    qkv[:, 1, 0, 0] = np.arange(tokens)
    qkv[:, 2, 0] = np.arange(tokens)[:, None]
    np.testing.assert_array_equal(run(qkv, isa), np.full((tokens, 1, 3), tokens - 1, np.float32))


@pytest.mark.parametrize("part", range(3))
def test_nan_stays_nan(isa: str, part: int) -> None:
    qkv = np.ones((9, 3, 1, 5), np.float32)
    qkv[4, part] = np.nan
    touched = [4] if part == 0 else range(9)  # a query has its own row; keys and values, all
    assert np.all(np.isnan(run(qkv, isa)[touched]))


def test_only_halves_have_attention_in_halves(isa: str) -> None:
    out = np.full((2, 1, 4), np.nan, np.float32)
    assert _core.attention_f16(zeros(2, 3, 1, 4), out, isa=isa) == in_halves(isa)
    assert np.isnan(out).any() != in_halves(isa)


def zeros(*shape: int, dtype: type = np.float32) -> F32:
    return np.zeros(shape, dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_dtypes_are_refused_not_converted(dtype: type) -> None:
    with pytest.raises(TypeError):
        _core.attention(zeros(2, 3, 1, 4, dtype=dtype), zeros(2, 1, 4))
    with pytest.raises(TypeError):
        _core.attention(zeros(2, 3, 1, 4), zeros(2, 1, 4, dtype=dtype))


@pytest.mark.parametrize(
    ("qkv", "out", "name"),
    [
        ((2, 4, 1, 4), (2, 1, 4), "qkv"),
        ((2, 3, 4), (2, 1, 4), "qkv"),
        ((0, 3, 1, 4), (0, 1, 4), "qkv"),
        ((2, 3, 1, 4), (2, 4), "out"),
        ((2, 3, 1, 4), (3, 1, 4), "out"),
    ],
)
def test_wrong_shapes_are_named(qkv: tuple[int, ...], out: tuple[int, ...], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must have"):
        _core.attention(zeros(*qkv), zeros(*out))
