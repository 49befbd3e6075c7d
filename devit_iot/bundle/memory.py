"""The memory that a part takes on its node."""

import math

import numpy as np

from devit_iot.bundle.spec import SubVitSpec
from devit_iot.bundle.storage import Dtype, is_matrix


def part_bytes(spec: SubVitSpec, file_bytes: int, dtype: Dtype) -> int:
    """What a part needs: its mapped file, and its weights packed to compute in ``dtype``."""
    packed = sum(
        math.prod(tensor.shape) * np.dtype(dtype if is_matrix(tensor) else "float32").itemsize
        for tensor in spec.tensors()
    )
    return file_bytes + packed
