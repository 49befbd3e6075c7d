"""A safetensors file: written, or read in place through a memory map.

Eight bytes with the size of a JSON header, the header, then the tensors' bytes without a gap:
https://github.com/huggingface/safetensors#format. The reader copies nothing and keeps nothing
resident but the tensor in use, so that loading a part takes the memory of its engine and no more.
"""

import io
import math
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from devit_iot.bundle.spec import TensorSpec
from devit_iot.bundle.storage import Array
from devit_iot.errors import BundleError

_DTYPES = {"F32": "float32", "F16": "float16", "I8": "int8", "U8": "uint8"}  # in the file's order
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_PREFIX_BYTES = 8
_ALIGNMENT = 8
_MAX_HEADER_BYTES = 16 * 2**20


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class TensorFile:
    """The tensors of one file, by name.

    Attributes:
        specs: what the file says that it holds.

    Raises:
        BundleError: the file cannot be read, or its header is not one of a safetensors file.
    """

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            entries, self._data = _read_header(self._map)
        except (OSError, ValueError) as error:  # ValueError: nothing to map, or a bad header
            raise BundleError(f"{path} is not a safetensors file: {error}") from error
        self._begins = {name: entry.data_offsets[0] for name, entry in entries.items()}
        self.specs = {
            name: TensorSpec(name, entry.shape, _DTYPES.get(entry.dtype, entry.dtype))
            for name, entry in entries.items()
        }

    def read(self, name: str) -> Array:
        """The tensor ``name``: read-only, a view of the file, valid as long as it is referenced."""
        # The pages of tensors read before leave this process; who still uses one gets them back
        # from the kernel's cache of the file.
        self._map.madvise(mmap.MADV_DONTNEED)
        spec = self.specs[name]
        offset = self._data + self._begins[name]
        count = math.prod(spec.shape)
        return np.frombuffer(self._map, spec.dtype, count, offset).reshape(spec.shape)


def write_tensors(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write ``arrays`` in C order and little-endian, the widest numbers first: all are aligned.

    Raises:
        KeyError: an array has a dtype that no bundle has.
    """
    with path.open("wb") as file:
        _write(file, arrays)


def pack_tensors(arrays: Mapping[str, Array]) -> bytes:
    """The bytes of the file that :func:`write_tensors` writes.

    Raises:
        KeyError: an array has a dtype that no bundle has.
    """
    file = io.BytesIO()
    _write(file, arrays)
    return file.getvalue()


def _write(file: BinaryIO, arrays: Mapping[str, Array]) -> None:
    order = list(_NAMES)
    items = sorted(arrays.items(), key=lambda item: (order.index(item[1].dtype.name), item[0]))
    entries = {}
    begin = 0
    for name, array in items:
        end = begin + array.nbytes
        entries[name] = _Entry(_NAMES[array.dtype.name], array.shape, (begin, end))
        begin = end
    header = msgspec.json.encode(entries)
    header += b" " * (-len(header) % _ALIGNMENT)
    file.write(len(header).to_bytes(_PREFIX_BYTES, "little"))
    file.write(header)
    for _, array in items:
        file.write(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())


def _read_header(data: mmap.mmap) -> tuple[dict[str, _Entry], int]:
    """Entries, and where the tensors' bytes begin; ValueError unless all of it fits the file."""
    size = int.from_bytes(data[:_PREFIX_BYTES], "little")
    begin = _PREFIX_BYTES + size
    if size > _MAX_HEADER_BYTES or begin > len(data):
        raise ValueError(f"its header would have {size} bytes")
    raw = msgspec.json.decode(data[_PREFIX_BYTES:begin], type=dict[str, msgspec.Raw])
    raw.pop("__metadata__", None)
    entries = {name: msgspec.json.decode(entry, type=_Entry) for name, entry in raw.items()}
    for name, entry in entries.items():
        first, last = entry.data_offsets
        known = _DTYPES.get(entry.dtype)
        item = np.dtype(known).itemsize if known else 1
        wrong_size = known and last - first != math.prod(entry.shape) * item
        if not 0 <= first <= last <= len(data) - begin or wrong_size or (begin + first) % item:
            raise ValueError(f"tensor '{name}' does not lie where its header says")
    return entries, begin
