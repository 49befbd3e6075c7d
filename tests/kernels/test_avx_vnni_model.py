"""The row avx_vnni on CPUs that lack it: with a model of its instruction, bit for bit."""

import ctypes
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from devit_iot import _core
from tests.kernels.reference import F32

ROOT = Path(__file__).parents[2]
SOURCE = Path(__file__).parent / "models" / "gemm_i8_avx_vnni.cc"
FLAGS = ["-std=c++20", "-O2", "-ffp-contract=off", "-mavx2", "-mfma", "-mf16c"]
AVX512 = ["-mavx512f", "-mavx512vl", "-mavx512vnni", "-Wno-psabi"]

needs_vnni = pytest.mark.skipif(
    not _core.cpu_features()["avx512_vnni"], reason="this CPU has no vpdpbusd of any encoding"
)
pytestmark = [
    pytest.mark.skipif(not (ROOT / "csrc").exists(), reason="the sources are not here"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="for x86-64"),
    pytest.mark.skipif(not _core.cpu_features()["fma"], reason="this CPU has no AVX2"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is missing"),
]


def compile_source(out: Path, *flags: str) -> Path:
    command = ["g++", *FLAGS, *flags, f"-I{ROOT / 'csrc'}", str(SOURCE), "-o", str(out)]
    subprocess.run(command, check=True)
    return out


def library(folder: Path, *flags: str) -> ctypes.CDLL:
    return ctypes.CDLL(str(compile_source(folder / "kernel.so", "-shared", "-fPIC", *flags)))


@pytest.fixture(scope="session")
def modelled(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return library(tmp_path_factory.mktemp("modelled"), "-DMODEL")


def pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def run(kernel: ctypes.CDLL, a: F32, weight: NDArray[np.int8], scale: F32, bias: F32) -> F32:
    out = np.empty((len(a), len(weight)), np.float32)
    sizes = (ctypes.c_size_t(size) for size in (len(a), *weight.shape[::-1]))
    pointers = (pointer(array) for array in (a, weight, scale, bias, out))
    kernel.gemm_i8(*pointers, *sizes)
    return out


def layer(rows: int, depth: int, cols: int, lowest: int) -> tuple[F32, NDArray[np.int8], F32, F32]:
    rng = np.random.default_rng(rows)
    weight = rng.integers(lowest, 128, (cols, depth)).astype(np.int8)
    scale = (rng.uniform(0.5, 2, cols) / 127).astype(np.float32)
    bias = rng.standard_normal(cols, np.float32)
    return rng.standard_normal((rows, depth), np.float32), weight, scale, bias


SHAPES = [(1, 1, 1), (5, 3, 17), (6, 64, 16), (13, 37, 50), (25, 192, 96), (7, 1537, 20)]


@pytest.mark.parametrize(("rows", "depth", "cols"), SHAPES)
@pytest.mark.parametrize("lowest", [-128, 126])
def test_sums_are_exact(
    modelled: ctypes.CDLL, rows: int, depth: int, cols: int, lowest: int
) -> None:
    a, weight, scale, bias = layer(rows, depth, cols, lowest)
    largest = np.abs(a).max(axis=1, keepdims=True)
    q = np.rint(a * (np.float32(127) / largest)).astype(np.int64)
    sums = (q @ weight.astype(np.int64).T).astype(np.float32)
    exact = sums.astype(np.float64) * scale * (largest / np.float32(127))
    bound = 2.0**-22 * (np.abs(exact) + np.abs(bias))
    found = run(modelled, a, weight, scale, bias)
    assert np.all(np.abs(found - (exact + bias)) <= bound)


def test_the_largest_sums_do_not_overflow(modelled: ctypes.CDLL) -> None:
    depth = 2**17
    one, zero = np.ones(17, np.float32), np.zeros(17, np.float32)
    for sign in (-1, 1):
        a = np.full((7, depth), sign, np.float32)
        found = run(modelled, a, np.full((17, depth), -128, np.int8), one, zero)
        np.testing.assert_allclose(found, np.full((7, 17), -128.0 * sign * depth), rtol=2.0**-21)


@needs_vnni
@pytest.mark.parametrize(("rows", "depth", "cols"), SHAPES)
def test_what_the_model_gives_is_what_a_row_with_the_instruction_gives(
    modelled: ctypes.CDLL, rows: int, depth: int, cols: int
) -> None:
    a, weight, scale, bias = layer(rows, depth, cols, -128)
    wanted = np.empty((rows, cols), np.float32)
    _core.gemm_i8(a, weight, scale, bias, wanted, isa="avx512_vnni")
    np.testing.assert_array_equal(run(modelled, a, weight, scale, bias), wanted)


@needs_vnni
def test_the_kernel_gives_the_same_with_the_encoding_that_this_cpu_has(
    modelled: ctypes.CDLL, tmp_path: Path
) -> None:
    kernel = library(tmp_path, "-DAVX512VL", *AVX512)
    arrays = layer(25, 193, 50, -128)
    np.testing.assert_array_equal(run(kernel, *arrays), run(modelled, *arrays))


@needs_vnni
def test_the_model_is_the_instruction(tmp_path: Path) -> None:
    agree = library(tmp_path, "-DMODEL", *AVX512).agree
    agree.restype = ctypes.c_bool
    rng = np.random.default_rng(0)
    triples = rng.choice(np.array([0, 1, 127, 128, 129, 255, 77], np.uint8), (10_000, 96))
    assert agree(pointer(triples), ctypes.c_size_t(len(triples)))


def test_the_real_one_is_compiled_to_the_instruction_of_256_bits(tmp_path: Path) -> None:
    text = compile_source(tmp_path / "kernel.s", "-S", "-mavxvnni").read_text()
    assert "{vex} vpdpbusd" in text
    assert "zmm" not in text
