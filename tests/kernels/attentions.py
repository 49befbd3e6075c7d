"""The contract of attention, and how it is called."""

import numpy as np

from devit_iot import _core
from tests.kernels.guarded import guarded, guarded_copy
from tests.kernels.reference import F32, UNIT


def error_bound(qkv: F32) -> float:
    tokens, _, _, head_dim = qkv.shape
    q, k, v = np.abs(qkv.astype(np.float64)).transpose(1, 2, 0, 3)
    s = (q @ k.transpose(0, 2, 1)).max()
    return float(UNIT * v.max() * (2 * tokens + 2 * (head_dim + 3) * s + 16))


def run(qkv: F32, isa: str) -> F32:
    tokens, _, heads, head_dim = qkv.shape
    out = guarded((tokens, heads, head_dim))
    _core.attention(guarded_copy(qkv), out.array, isa=isa)
    out.assert_intact()
    return out.array


def error_bound_f16(qkv: F32) -> float:
    """What csrc/kernels/attention/attention_f16.h promises."""
    half = 2.0**-11
    tokens, _, _, head_dim = qkv.shape
    q, k, v = np.abs(qkv.astype(np.float64)).transpose(1, 2, 0, 3)
    s = (q @ k.transpose(0, 2, 1)).max()
    score = half * 1.1 * (head_dim + 2) * s + 2.0**-24 * head_dim * q.max() * k.max()
    blocks = min(tokens, 64) + -(-tokens // 64)
    return float(v.max() * (np.expm1(2 * score) + half * (1.1 * blocks + 4) + tokens * 2.0**-22))


def run_f16(qkv: F32, isa: str) -> F32:
    tokens, _, heads, head_dim = qkv.shape
    out = guarded((tokens, heads, head_dim))
    assert _core.attention_f16(guarded_copy(qkv), out.array, isa=isa)
    out.assert_intact()
    return out.array
