"""Rules about csrc/ that no compiler checks."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CSRC = ROOT / "csrc"
LAYERS = ["bindings", "runtime", "kernels", "base"]  # top first: includes only go down
SOURCES = sorted(path for path in CSRC.rglob("*.*") if path.suffix in {".h", ".cc"})
KERNEL_NAME = re.compile(
    r"[a-z]+(_[a-z]+)*_(f32|f16|i8|u8)(_\d+x\d+)?_(scalar|avx|avx2|avx512|neon)"
    r"(_(dotprod|fp16|i8mm|vnni))?"
)
# No function among them.
PLAIN_TYPES = {"size_t", "int8_t", "uint8_t", "int16_t", "uint16_t", "int32_t", "uint32_t"}
# Compiled once per instruction set, with its flags.
PER_ISA = [
    path for path in SOURCES if re.search(r"_inl\.h$|simd_|_(avx\w*|neon\w*)\.cc$", path.name)
]


def test_cmake_builds_every_source() -> None:
    listed = re.findall(r"csrc/[\w/]+\.cc", (ROOT / "CMakeLists.txt").read_text())
    assert set(listed) == {str(path.relative_to(ROOT)) for path in SOURCES if path.suffix == ".cc"}


def test_kernels_are_named_by_the_grammar() -> None:
    kernels = [path.stem for path in (CSRC / "kernels").rglob("*.cc") if path.stem != "registry"]
    assert [name for name in kernels if not KERNEL_NAME.fullmatch(name)] == []


# Functions of a CPU or of the C library, which comments compare ours with.
THEIRS = {"vfmaq_laneq_f16", "fmaf"}


def test_functions_that_comments_name_exist() -> None:
    """A header says where to look: `see round() in gemm_f16.h`."""
    lines = [line.partition("//") for path in SOURCES for line in path.read_text().splitlines()]
    known = set(re.findall(r"\w+", "\n".join(code for code, _, _ in lines)))
    named = set(re.findall(r"\b([A-Za-z_]\w*)\(\)", "\n".join(said for _, _, said in lines)))
    assert {"quantize", "round", "packed_gemm_f32_size"} <= named
    assert named - known - THEIRS == set()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_includes_go_down(path: Path) -> None:
    below = LAYERS[LAYERS.index(path.relative_to(CSRC).parts[0]) :]
    included = re.findall(r'#include "(\w+)/', path.read_text())
    assert [layer for layer in included if layer not in below] == []


@pytest.mark.parametrize("path", PER_ISA, ids=lambda path: path.name)
def test_code_with_flags_of_its_own_shares_no_inline_function(path: Path) -> None:
    """The linker would keep one copy for all, and it might need AVX2 (see simd_avx2.h)."""
    text = path.read_text()
    allowed = {"cstddef", "cstdint", "immintrin.h", "arm_neon.h"}
    assert set(re.findall(r"#include <(.+)>", text)) <= allowed
    assert set(re.findall(r"std::(\w+)", text)) <= PLAIN_TYPES
    if path.suffix == ".h":
        assert "namespace devit {\nnamespace {\n" in text
