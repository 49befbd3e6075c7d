"""A tensor file as others read it: by its bytes, and by the safetensors library."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from devit_iot.bundle.storage import Array
from devit_iot.bundle.tensor_file import TensorFile, write_tensors
from devit_iot.errors import BundleError

ITEM_BYTES = {"F32": 4, "F16": 2, "I8": 1, "U8": 1}
DTYPES = ("float32", "float16", "int8", "uint8")
SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)
NAMES = st.text("abcdefgh.", min_size=1, max_size=12)
TENSORS = st.dictionaries(NAMES, st.tuples(st.sampled_from(DTYPES), SHAPES), min_size=1, max_size=8)


def arrays(shapes: dict[str, tuple[str, tuple[int, ...]]]) -> dict[str, Array]:
    rng = np.random.default_rng(1)
    return {
        name: rng.integers(0, 100, shape).astype(dtype) for name, (dtype, shape) in shapes.items()
    }


def header_of(content: bytes) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors begin."""
    begin = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:begin]), begin


@settings(max_examples=100, deadline=None)
@given(TENSORS)
@example(
    {"a": ("uint8", (3,)), "b": ("float32", (2,)), "c": ("int8", (1,)), "d": ("float16", (5,))}
)
@example({"x" * length: ("float32", (1,)) for length in range(1, 9)})
def test_every_tensor_is_aligned(
    tmp_path_factory: pytest.TempPathFactory, shapes: dict[str, tuple[str, tuple[int, ...]]]
) -> None:
    """Tensors of odd sizes and headers of odd lengths change nothing, and leave no byte between."""
    path = tmp_path_factory.mktemp("tensors") / "t.safetensors"
    written = arrays(shapes)
    write_tensors(path, written)
    content = path.read_bytes()
    header, begin = header_of(content)
    assert begin % 8 == 0
    assert header.keys() == written.keys()
    end = 0
    for entry in sorted(header.values(), key=lambda entry: entry["data_offsets"]):
        first, last = entry["data_offsets"]
        assert (begin + first) % ITEM_BYTES[entry["dtype"]] == 0
        assert first == end
        end = last
    assert begin + end == len(content)
    read, ours = load_file(path), TensorFile(path)
    for name, array in written.items():
        for found in (read[name], ours.read(name)):
            assert found.dtype == array.dtype
            np.testing.assert_array_equal(found, array)


def by_hand(path: Path, header: dict[str, Any], data: bytes, *, length: int) -> Path:
    """A file whose header is filled up with spaces to ``length`` bytes."""
    text = json.dumps(header).encode().ljust(length)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


@pytest.mark.parametrize(("dtype", "size"), [("F32", 4), ("F16", 2)])
def test_a_tensor_that_is_not_aligned_is_refused(tmp_path: Path, dtype: str, size: int) -> None:
    path = tmp_path / "t.safetensors"
    for shift in range(size):
        entry = {"dtype": dtype, "shape": [2], "data_offsets": [shift, shift + 2 * size]}
        by_hand(path, {"a": entry}, bytes(shift + 2 * size), length=80)
        if shift == 0:
            assert TensorFile(path).read("a").tolist() == [0, 0]
        else:
            with pytest.raises(BundleError, match="'a' does not lie where its header says"):
                TensorFile(path)
        entry["data_offsets"] = [0, 2 * size]
        by_hand(path, {"a": entry}, bytes(2 * size), length=80 + shift)
        if shift:
            with pytest.raises(BundleError, match="'a' does not lie where its header says"):
                TensorFile(path)


def test_bytes_may_lie_anywhere(tmp_path: Path) -> None:
    entry = {"dtype": "U8", "shape": [3], "data_offsets": [1, 4]}
    path = by_hand(tmp_path / "t.safetensors", {"a": entry}, b"0123", length=81)
    assert TensorFile(path).read("a").tobytes() == b"123"


def test_a_header_of_16_mebibytes_is_the_longest(tmp_path: Path) -> None:
    path = by_hand(tmp_path / "t.safetensors", {}, b"", length=16 * 2**20)
    assert TensorFile(path).specs == {}
    by_hand(path, {}, b"", length=16 * 2**20 + 1)
    with pytest.raises(BundleError, match="its header would have 16777217 bytes"):
        TensorFile(path)


@pytest.mark.parametrize("change", [-1, 1, 4])
def test_a_tensor_has_as_many_bytes_as_its_shape_says(tmp_path: Path, change: int) -> None:
    entry = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24 + change]}
    path = by_hand(tmp_path / "t.safetensors", {"a": entry}, bytes(32), length=80)
    with pytest.raises(BundleError, match="'a' does not lie where its header says"):
        TensorFile(path)


def test_notes_in_the_header_are_no_tensor(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    save_file({"a": np.ones(3, np.float32)}, path, metadata={"by": "another program"})
    assert TensorFile(path).specs.keys() == {"a"}
    assert TensorFile(path).read("a").tolist() == [1, 1, 1]
