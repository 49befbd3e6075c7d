"""Arrays that end where the process's memory ends: one element too far is a crash."""

import ctypes
import mmap
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CANARY = 0xA5
_PROT_NONE = 0
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Guarded:
    """A float32 array with an unmapped page behind it and known bytes before it."""

    array: NDArray[np.float32]
    before: NDArray[np.uint8]

    def assert_intact(self) -> None:
        assert np.all(self.before == _CANARY), "written before the array"


def guarded(shape: tuple[int, ...]) -> Guarded:
    count = int(np.prod(shape))
    size = count * 4
    pages = -(-size // mmap.PAGESIZE) + 1  # at least one byte more than needed, to hold a canary
    memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
    start = pages * mmap.PAGESIZE - size
    everything = np.frombuffer(memory, np.uint8)
    before = everything[:start]
    before[:] = _CANARY
    guard = ctypes.c_void_p(everything.ctypes.data + pages * mmap.PAGESIZE)
    if _libc.mprotect(guard, ctypes.c_size_t(mmap.PAGESIZE), _PROT_NONE) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")
    array = np.frombuffer(memory, np.float32, count, start).reshape(shape)
    array[...] = np.nan  # whatever is not written shows
    return Guarded(array, before)


def guarded_copy(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """An input array with an unmapped page behind it."""
    array = guarded(values.shape).array
    array[...] = values
    return array
