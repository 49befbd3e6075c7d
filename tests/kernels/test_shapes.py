"""Shapes and numbers as networks have them: up to 400 tokens, 8 heads; zeros, denormals, huge."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devit_iot.bundle.spec import BlockSpec, SubVitSpec
from tests.kernels import attentions as of_attention
from tests.kernels import sub_vits as of_sub_vit
from tests.kernels.reference import attention, features, random_tensors

HEAD_DIMS = st.sampled_from([16, 32, 48, 64, 96])
SEEDS = st.integers(0, 2**32 - 1)


@given(tokens=st.integers(1, 400), heads=st.integers(1, 8), head_dim=HEAD_DIMS, seed=SEEDS)
def test_attention(isa: str, tokens: int, heads: int, head_dim: int, seed: int) -> None:
    qkv = np.random.default_rng(seed).standard_normal((tokens, 3, heads, head_dim), np.float32)
    qkv[:, 0] *= np.float32(head_dim**-0.5)
    bound = of_attention.error_bound(qkv)
    np.testing.assert_allclose(
        of_attention.run(qkv, isa), attention(qkv.astype(np.float64)), rtol=0, atol=bound
    )


@given(
    grid=st.integers(1, 19),  # 2 to 363 tokens
    prefix_tokens=st.integers(1, 2),
    embed_dim=st.integers(8, 100),
    heads=st.integers(1, 8),
    head_dim=HEAD_DIMS,
    mlp_dim=st.integers(1, 130),
    seed=SEEDS,
)
def test_a_sub_vit(
    isa: str, grid: int, prefix_tokens: int, embed_dim: int, heads: int, head_dim: int,
    mlp_dim: int, seed: int,
) -> None:  # fmt: skip
    blocks = (BlockSpec(heads, mlp_dim), BlockSpec(1, 3))
    spec = SubVitSpec(2 * grid, 2 * grid, 2, embed_dim, head_dim, prefix_tokens, blocks)
    weights, image = random_tensors(spec, seed), of_sub_vit.random_image(spec, seed)
    feature = of_sub_vit.run(of_sub_vit.build(spec, weights, threads=2, isa=isa), image)
    np.testing.assert_allclose(
        feature, features(spec, weights, image), rtol=0, atol=of_sub_vit.tolerance(spec)
    )


@pytest.mark.parametrize("scale", [0.0, 1e-42, 1e-38, 30.0])
@pytest.mark.parametrize("tokens", [1, 5, 197])
def test_attention_of_zeros_denormals_and_large_scores(isa: str, tokens: int, scale: float) -> None:
    qkv = np.random.default_rng(7).standard_normal((tokens, 3, 2, 64), np.float32)
    qkv[:, :2] *= np.float32(scale)
    qkv[::3, 2] = 1e-40  # values too
    bound = of_attention.error_bound(qkv)
    np.testing.assert_allclose(
        of_attention.run(qkv, isa), attention(qkv.astype(np.float64)), rtol=0, atol=bound
    )
