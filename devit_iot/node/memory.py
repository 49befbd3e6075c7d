"""The memory that a node needs: for its part, and for everything else."""

import math

import numpy as np

from devit_iot.bundle.spec import SubVitSpec
from devit_iot.bundle.storage import Storage, stored
from devit_iot.config.config import NodeConfig
from devit_iot.engine.image import decoding_bytes

_BASE_BYTES = 64 * 2**20
"""Interpreter, libraries and network buffers of a node, measured and rounded up."""


def overhead_bytes(limits: NodeConfig, *, every: bool, cascade: bool = False) -> int:
    """What a node needs beside its part: itself, one image that is decoded, all that wait.

    Args:
        limits: its configuration.
        every: whether some camera is of ``every``, whose images wait in memory too.
        cascade: whether some camera's images wait for the node's turn.
    """
    waiting = limits.max_cameras * limits.max_payload_bytes
    waiting += (every + cascade) * limits.max_waiting_mib * 2**20
    return _BASE_BYTES + decoding_bytes(limits.max_pixels) + waiting


def file_bytes(spec: SubVitSpec, storage: Storage) -> int:
    """The bytes of the tensors in a part's file, without its header."""
    kept = [*(lain for tensor in spec.tensors() for lain in stored(tensor, storage))]
    kept += spec.golden_tensors()
    return sum(math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize for tensor in kept)
