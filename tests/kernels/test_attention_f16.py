"""csrc/kernels/attention/attention_f16.h: the values, the bound and what the binding refuses."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from devit_iot import _core
from tests.kernels.attentions import error_bound_f16, run_f16
from tests.kernels.gemms import in_halves
from tests.kernels.reference import F32, attention


@pytest.fixture(autouse=True)
def _halves(isa: str) -> None:
    if not in_halves(isa):
        pytest.skip(f"{isa} has no attention in halves")


def random_qkv(tokens: int, heads: int, head_dim: int, spread: float, seed: int) -> F32:
    qkv = np.random.default_rng(seed).standard_normal((tokens, 3, heads, head_dim), np.float32)
    qkv[:, :2] *= spread
    return qkv


@given(
    tokens=st.integers(1, 150),
    heads=st.integers(1, 3),
    head_dim=st.integers(1, 64),
    spread=st.sampled_from([0.0, 0.1, 0.3, 1.0]),  # 0: uniform weights; 1: one key takes most
    size=st.sampled_from([2.0**-60, 1.0, 2.0**40]),  # what values are multiplied by
    seed=st.integers(0, 2**32 - 1),
)
@example(tokens=197, heads=3, head_dim=64, spread=0.3, size=1.0, seed=0)
@example(tokens=65, heads=1, head_dim=32, spread=1.0, size=1.0, seed=1)
def test_matches_float64(
    isa: str, tokens: int, heads: int, head_dim: int, spread: float, size: float, seed: int
) -> None:
    qkv = random_qkv(tokens, heads, head_dim, spread, seed)
    qkv[:, 2] *= size
    wanted = attention(qkv.astype(np.float64))
    np.testing.assert_allclose(run_f16(qkv, isa), wanted, rtol=0, atol=error_bound_f16(qkv))


def test_a_usual_head_is_off_by_half_a_percent_at_most(isa: str) -> None:
    qkv = random_qkv(197, 3, 64, 64**-0.25, 0)
    wanted = attention(qkv.astype(np.float64))
    off = np.linalg.norm(run_f16(qkv, isa) - wanted) / np.linalg.norm(wanted)
    assert off < 0.005


def test_large_scores_do_not_overflow(isa: str) -> None:
    qkv = np.full((3, 3, 1, 4), 1e4, np.float32)
    np.testing.assert_allclose(run_f16(qkv, isa), qkv[:, 2], rtol=2.0**-10)


def test_many_large_values_of_one_sign_do_not_overflow(isa: str) -> None:
    qkv = np.zeros((1000, 3, 1, 8), np.float32)
    qkv[:, 2] = 3e4
    np.testing.assert_allclose(run_f16(qkv, isa), qkv[:, 2], rtol=0.03)


def test_the_largest_score_takes_all(isa: str) -> None:
    tokens = 21
    qkv = np.zeros((tokens, 3, 1, 3), np.float32)
    qkv[:, 0, 0, 0] = 1000.0
    qkv[:, 1, 0, 0] = np.arange(tokens)
    qkv[:, 2, 0] = np.arange(tokens)[:, None]
    wanted = np.full((tokens, 1, 3), tokens - 1, np.float32)
    np.testing.assert_array_equal(run_f16(qkv, isa), wanted)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2.0**96])
@pytest.mark.parametrize("part", range(3))
def test_a_head_with_a_number_that_is_too_large_is_nan(isa: str, part: int, bad: float) -> None:
    qkv = np.ones((9, 3, 2, 5), np.float32)
    qkv[4, part, 0, 2] = bad
    found = run_f16(qkv, isa)
    assert np.all(np.isnan(found[:, 0]))
    np.testing.assert_allclose(found[:, 1], 1, rtol=2.0**-10)


def test_long_heads_are_refused(isa: str) -> None:
    with pytest.raises(ValueError, match="halves take heads of at most 64 numbers, got 65"):
        _core.attention_f16(
            np.zeros((2, 3, 1, 65), np.float32), np.zeros((2, 1, 65), np.float32), isa=isa
        )
