"""csrc/kernels/resize/resize_u8.h and csrc/runtime/resize.h: bytes, what the binding refuses."""

import ctypes
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from devit_iot import _core
from tests.kernels.guarded import guarded_copy

U8 = NDArray[np.uint8]
CANARY = 0xA5


def bicubic(x: float) -> float:
    """Keys 1981, eq. (4), a = -1/2."""
    x = abs(x)
    if x < 1:
        return ((-0.5 + 2) * x - (-0.5 + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * -0.5 if x < 2 else 0.0


def bilinear(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


FILTERS = {"bicubic": (bicubic, 2), "bilinear": (bilinear, 1)}


def resized(lines: U8, extent: float, full: int, filter_name: str) -> U8:
    """The first axis resized, whole; in whole numbers of 2^-22, as the contract says."""
    scale = extent / full
    stretch = max(scale, 1.0)
    weight, reach = FILTERS[filter_name]
    support = reach * stretch
    out = np.empty((full, *lines.shape[1:]), np.uint8)
    for j in range(full):
        centre = (j + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        last = min(int(centre + support + 0.5), len(lines))
        values = [weight((i - centre + 0.5) * (1 / stretch)) for i in range(first, last)]
        total = sum(values)  # one after the other
        weights = [math.trunc(v / total * 2**22 + math.copysign(0.5, v)) for v in values]
        sums = np.tensordot(np.array(weights, np.int64), lines[first:last].astype(np.int64), 1)
        out[j] = np.clip((sums + 2**21) >> 22, 0, 255)
    return out


def reference(
    pixels: U8, extent: tuple[float, float], full: tuple[int, int], filter_name: str
) -> U8:
    turned = pixels[..., :3].swapaxes(0, 1)
    columns = resized(turned, extent[1], full[1], filter_name).swapaxes(0, 1)
    return resized(columns, extent[0], full[0], filter_name)


def picture(rows: int, columns: int, seed: int, *, hard: bool) -> U8:
    rng = np.random.default_rng(seed)
    if hard:  # edges overshoot both ends of the range
        return (rng.integers(0, 2, (rows, columns, 4)) * 255).astype(np.uint8)
    return rng.integers(0, 256, (rows, columns, 4), np.uint8)


@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    full=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    partly=st.tuples(st.sampled_from([0, 0.125, 0.5]), st.sampled_from([0, 0.125, 0.5])),
    filter_name=st.sampled_from(sorted(FILTERS)),
    hard=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_byte_of_a_window_is_the_references(
    isa: str,
    size: tuple[int, int],
    full: tuple[int, int],
    partly: tuple[float, float],
    filter_name: str,
    seed: int,
    *,
    hard: bool,
) -> None:
    rng = np.random.default_rng(seed)
    top, left = (int(rng.integers(0, n)) for n in full)
    rows, columns = (
        int(rng.integers(1, full[0] - top + 1)),
        int(rng.integers(1, full[1] - left + 1)),
    )
    pixels = guarded_copy(picture(*size, seed, hard=hard))
    extent = (size[0] - partly[0], size[1] - partly[1])
    memory = np.full(rows * columns * 3 + 64, CANARY, np.uint8)
    out = memory[32:-32].reshape(rows, columns, 3)
    _core.resize_window(
        pixels,
        out,
        extent=extent,
        full=full,
        offset=(top, left),
        interpolation=filter_name,
        isa=isa,
    )
    wanted = reference(pixels, extent, full, filter_name)[top : top + rows, left : left + columns]
    np.testing.assert_array_equal(out, wanted)
    assert (memory[:32] == CANARY).all()
    assert (memory[-32:] == CANARY).all()


def test_the_size_it_has_already_gives_a_copy(isa: str) -> None:
    pixels = picture(9, 7, 0, hard=False)
    out = np.empty((9, 7, 3), np.uint8)
    _core.resize_window(pixels, out, extent=(9, 7), full=(9, 7), offset=(0, 0), isa=isa)
    np.testing.assert_array_equal(out, pixels[..., :3])


@pytest.mark.parametrize(
    ("extent", "full", "offset", "word"),
    [
        ((8, 8), (4, 4), (1, 0), "reaches out"),
        ((8, 8), (4, 4), (0, 2**63), "reaches out"),
        ((8, 8), (3, 4), (0, 0), "reaches out"),
        ((8.5, 8), (4, 4), (0, 0), "does not end in its last"),
        ((8, 7), (4, 4), (0, 0), "does not end in its last"),
        ((8, math.nan), (4, 4), (0, 0), "does not end in its last"),
    ],
)
def test_impossible_windows_are_refused(
    extent: tuple[float, float], full: tuple[int, int], offset: tuple[int, int], word: str
) -> None:
    pixels, out = np.zeros((8, 8, 4), np.uint8), np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match=word):
        _core.resize_window(pixels, out, extent=extent, full=full, offset=offset)


def test_a_filter_that_there_is_not_is_refused() -> None:
    pixels, out = np.zeros((8, 8, 4), np.uint8), np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="neither 'bicubic' nor 'bilinear'"):
        _core.resize_window(
            pixels, out, extent=(8, 8), full=(4, 4), offset=(0, 0), interpolation="lanczos"
        )


def test_wrong_arrays_are_refused() -> None:
    good = np.zeros((8, 8, 4), np.uint8)
    out = np.zeros((4, 4, 3), np.uint8)

    def resize(pixels: NDArray[np.uint8], to: NDArray[np.uint8]) -> None:
        _core.resize_window(pixels, to, extent=(8, 8), full=(4, 4), offset=(0, 0))

    with pytest.raises(ValueError, match=r"^pixels must have shape \(8, 8, 4\)"):
        resize(np.zeros((8, 8, 3), np.uint8), out)
    with pytest.raises(ValueError, match=r"^pixels must have 3 axes and no empty one"):
        resize(np.zeros((0, 8, 4), np.uint8), out)
    with pytest.raises(ValueError, match=r"^out must have shape \(4, 4, 3\)"):
        resize(good, np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(TypeError):
        resize(good[:, ::2], out)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="not writeable"):
        resize(good, out)


class ArrowArray(ctypes.Structure):
    """https://arrow.apache.org/docs/format/CDataInterface.html."""


ArrowArray._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(ArrowArray))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.c_void_p),
    ("private_data", ctypes.c_void_p),
]


def capsule(array: ArrowArray) -> object:
    make = ctypes.pythonapi.PyCapsule_New
    make.restype, make.argtypes = (
        ctypes.py_object,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p],
    )
    return make(ctypes.addressof(array), b"arrow_array", None)


def arrow(values: U8) -> ArrowArray:
    buffers = (ctypes.c_void_p * 2)(None, values.ctypes.data)
    return ArrowArray(values.size, 0, 0, 2, 0, buffers, None, None, 1, None)


def test_bytes_of_arrow_are_seen_in_place() -> None:
    values = np.arange(12, dtype=np.uint8)
    leaf = arrow(values)
    children = (ctypes.POINTER(ArrowArray) * 1)(ctypes.pointer(leaf))
    lists = ArrowArray(3, 0, 0, 1, 1, (ctypes.c_void_p * 1)(), children, None, 1, None)
    for array in (leaf, lists):
        view = _core.arrow_bytes(capsule(array))
        np.testing.assert_array_equal(view, values)
        assert view.ctypes.data == values.ctypes.data
        assert not view.flags.writeable


def test_other_arrow_arrays_are_refused() -> None:
    values = np.zeros(4, np.uint8)
    released, shifted, text = arrow(values), arrow(values), arrow(values)
    released.release, shifted.offset, text.n_buffers = None, 1, 3
    for array, word in ((released, "released"), (shifted, "no array of"), (text, "no array of")):
        with pytest.raises(ValueError, match=word):
            _core.arrow_bytes(capsule(array))
    with pytest.raises(TypeError):
        _core.arrow_bytes(values)
