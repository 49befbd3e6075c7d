"""Arrays that end where the process's memory ends: one element too far is a crash."""

import ctypes
import mmap
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_CANARY = 0xA5
_PROT_NONE = 0
_libc = ctypes.CDLL(None, use_errno=True)


T = TypeVar("T", np.float32, np.float16, np.int8, np.uint8)


@dataclass(frozen=True)
class Guarded:
    """A float32 array with an unmapped page behind it and known bytes before it."""

    array: NDArray[np.float32]
    before: NDArray[np.uint8]

    def assert_intact(self) -> None:
        assert np.all(self.before == _CANARY), "written before the array"


def guarded(shape: tuple[int, ...]) -> Guarded:
    everything, start = _guarded_memory(int(np.prod(shape)) * 4)
    array = everything[start:].view(np.float32).reshape(shape)
    array[...] = np.nan  # whatever is not written shows
    return Guarded(array, everything[:start])


def _guarded_memory(size: int) -> tuple[NDArray[np.uint8], int]:
    """Bytes of which the last ``size``, from the index returned, end where the memory ends."""
    pages = -(-size // mmap.PAGESIZE) + 1  # at least one byte more than needed, to hold a canary
    memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
    start = pages * mmap.PAGESIZE - size
    everything = np.frombuffer(memory, np.uint8)
    everything[:start] = _CANARY
    guard = ctypes.c_void_p(everything.ctypes.data + pages * mmap.PAGESIZE)
    if _libc.mprotect(guard, ctypes.c_size_t(mmap.PAGESIZE), _PROT_NONE) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")
    return everything[: start + size], start


def guarded_copy(values: NDArray[T]) -> NDArray[T]:
    """An input array with an unmapped page behind it."""
    everything, start = _guarded_memory(values.nbytes)
    array = everything[start:].view(values.dtype).reshape(values.shape)
    array[...] = values
    return array
