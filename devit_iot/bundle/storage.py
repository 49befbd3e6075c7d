"""How a part's matrices lie in its file: as they are, as halves, or as bytes with a scale per row.

What a bundle hands out is float32, whatever the file holds; an engine that computes in float16 or
int8 may have the halves, or the bytes and scales, instead.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.spec import SubVitSpec, TensorSpec
from devit_iot.errors import BundleError

Array = NDArray[Any]
Storage = Literal["float32", "float16", "int8"]
"""Of the matrices in the file."""

Dtype = Literal["float32", "float16", "int8"]
"""In what an engine computes with the matrices.

With int8 its activations are quantised too. With float16 the matrices take half the memory, and are
multiplied in float32, or in halves where the CPU does that faster.
"""

_MATRIX = re.compile(r"blocks\.\d+\..*\.weight|tokenizer\.[1-9]\d*\.weight")
_SCALE = ".scale"
_LEVELS = 127
_SCALE_BITS = 12


def stored(tensor: TensorSpec, storage: Storage) -> tuple[TensorSpec, ...]:
    """What the file of a part with ``storage`` holds for ``tensor``.

    Only large matrices change: the blocks' linear layers and all but the first convolution. Into
    the weights of the first layer 1/255 is folded, which would leave a half few digits.
    """
    if storage == "float32" or len(tensor.shape) == 1 or not _MATRIX.fullmatch(tensor.name):
        return (tensor,)
    matrix = TensorSpec(tensor.name, tensor.shape, storage)
    if storage == "float16":
        return (matrix,)
    return (matrix, TensorSpec(tensor.name + _SCALE, tensor.shape[:1]))


def pack(tensor: TensorSpec, array: Array, storage: Storage) -> dict[str, Array]:
    """The arrays of :func:`stored`, rounded to the nearest.

    A row of int8 holds -127 to 127 in units of its scale, a float32 with twelve significant bits:
    so few that every product is exact, and packing what was unpacked changes nothing.

    Raises:
        BundleError: a number is too large for float16.
    """
    if len(stored(tensor, storage)) == 1 and stored(tensor, storage)[0].dtype == tensor.dtype:
        return {tensor.name: array}
    if storage == "float16":
        return {tensor.name: _half(tensor.name, array)}
    rows = array.reshape(len(array), -1)
    scale = _scales(np.abs(rows).max(axis=1))
    levels = np.rint(rows / scale[:, None]).astype(np.int8).reshape(array.shape)
    return {tensor.name: levels, tensor.name + _SCALE: scale}


def unpack(tensor: TensorSpec, read: Callable[[str], Array], storage: Storage) -> Array:
    """The tensor in its own dtype, from the arrays that ``read`` gives by name."""
    array = read(tensor.name).astype(tensor.dtype, copy=False)
    if len(stored(tensor, storage)) == 1:
        return array
    scale = read(tensor.name + _SCALE)
    scaled: Array = array * scale.reshape(-1, *[1] * (array.ndim - 1))
    return scaled


def is_matrix(tensor: TensorSpec) -> bool:
    """Whether ``tensor`` is one of those that change; see :func:`stored`."""
    return len(stored(tensor, "int8")) > 1


def as_stored(spec: SubVitSpec, tensors: Mapping[str, Array], storage: Storage) -> dict[str, Array]:
    """``tensors`` as engines will read them from a part with ``storage``.

    Make the golden pair and the mean features with what this returns.

    Raises:
        BundleError: a number is too large for float16.
    """
    rounded = dict(tensors)
    for tensor in spec.tensors():
        packed = pack(tensor, tensors[tensor.name], storage)
        rounded[tensor.name] = unpack(tensor, packed.__getitem__, storage)
    return rounded


def _half(name: str, array: Array) -> Array:
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    if not np.isfinite(half).all():
        largest = float(np.abs(array).max())
        raise BundleError(
            f"tensor '{name}' reaches {largest:g}, float16 ends at 65504; store it as float32"
        )
    return half


def _scales(largest: NDArray[np.float32]) -> NDArray[np.float32]:
    """Largest value / 127, rounded up to few bits; 1 for rows of zeros."""
    mantissa, exponent = np.frexp(largest.astype(np.float64) / _LEVELS)
    scale = np.ldexp(np.ceil(np.ldexp(mantissa, _SCALE_BITS)), exponent - _SCALE_BITS)
    return np.where(largest > 0, scale, 1).astype(np.float32)
