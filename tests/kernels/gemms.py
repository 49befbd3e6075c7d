"""The contract of the products: reference, bounds."""

from typing import Literal

import numpy as np

from devit_iot import _core
from tests.kernels.reference import F32, F64, UNIT, gelu

Epilogue = Literal["none", "gelu", "residual"]


def gelu_bound(y: F64) -> F64:
    out: F64 = UNIT * (4 * np.minimum(np.abs(y), 5.3) + np.abs(gelu(y))) + 2.0**-148
    return out


def reference(a: F32, weight: F32, bias: F32, old: F32, epilogue: Epilogue) -> tuple[F64, F64]:
    """The exact result and the promised bound of the error."""
    wide = a.astype(np.float64), weight.astype(np.float64).T
    residual = old.astype(np.float64) if epilogue == "residual" else np.zeros(old.shape)
    y = wide[0] @ wide[1] + bias + residual
    size = np.abs(wide[0]) @ np.abs(wide[1]) + np.abs(bias) + np.abs(residual)
    bound = UNIT * (a.shape[1] + 3) * size
    if epilogue == "gelu":
        return gelu(y), 1.13 * bound + gelu_bound(y)
    return y, bound


MAX_DEPTH = 2**17


def levels(depth: int, isa: str) -> int:
    q, _ = _core.quantize_i8(np.ones((1, 1), np.float32), isa=isa)
    return 127 if q.dtype == np.int8 else min(32639, (2**31 - 1) // (128 * depth))


def in_halves(isa: str) -> bool:
    """Whether products are summed in halves, and activations are rounded to halves first."""
    one = np.ones((1, 1), np.float32)
    return _core.round_f16(one, one.astype(np.float16), isa=isa) is not None
