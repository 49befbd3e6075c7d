"""What engines compute in: who decides, from which numbers, and that the golden check checks."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devit_iot.bundle.reading import Bundle, Tensors
from devit_iot.bundle.storage import Array, Dtype, Storage, as_stored, is_matrix
from devit_iot.bundle.writing import PartData, write_bundle
from devit_iot.engine.base import GOLDEN_TOLERANCE, Engine, check_golden, load_engine
from devit_iot.engine.native import NativeEngine
from devit_iot.errors import BundleError, EngineError
from devit_iot.export.reference import with_golden
from tests.support.fleets import CLASSES, make_bundle

PARTS = pytest.mark.parametrize("part", range(3), ids=["ViT", "DeiT", "CCT"])
ERROR: dict[Dtype, float] = {"float32": 1e-5, "float16": 2e-3, "int8": 0.05}
"""Of sound engines on these fleets."""


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("floats") / "bundle")


@pytest.fixture(scope="module", params=["float16", "int8"])
def stored(
    floats: Bundle, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Bundle:
    """The same fleet, its parts stored in fewer bits."""
    storage: Storage = request.param
    parts = []
    for index, entry in enumerate(floats.manifest.parts):
        read = dict(floats.read_part(index).tensors)
        rounded = as_stored(entry.spec, read, storage)
        image = read["golden.image"]
        data = with_golden(entry.spec, rounded, image)
        parts.append(PartData(entry.spec, entry.classes, data, storage))
    return write_bundle(
        tmp_path_factory.mktemp("stored") / "bundle",
        name="tiny",
        classes=CLASSES,
        parts=parts,
        fusion=floats.fusion_tensors(),
        provenance={},
    )


def storage_of(bundle: Bundle) -> Storage:
    return bundle.part(0).dtype


def error(engine: Engine, read: Tensors) -> float:
    wanted = read["golden.feature"]
    return float(
        np.linalg.norm(engine.features(read["golden.image"]) - wanted) / np.linalg.norm(wanted)
    )


@PARTS
@pytest.mark.parametrize("dtype", [None, "float32", "float16", "int8"])
def test_a_part_is_computed_in_what_it_is_stored_in_unless_told(
    floats: Bundle, stored: Bundle, part: int, dtype: Dtype | None
) -> None:
    for bundle in (floats, stored):
        engine = load_engine(bundle.read_part(part), dtype=dtype)
        assert engine.dtype == (dtype or bundle.part(part).dtype)
        assert engine.dtype in engine.detail
        assert error(engine, bundle.read_part(part).tensors) < ERROR[engine.dtype]


@pytest.mark.parametrize("name", ["torch", "tflite"])
@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_engines_in_float32_say_that_they_have_no_other(
    floats: Bundle, name: str, dtype: Dtype
) -> None:
    pytest.importorskip({"torch": "torch", "tflite": "ai_edge_litert"}[name])
    with pytest.raises(EngineError, match=f"engine '{name}': .*{dtype} cannot be had"):
        load_engine(floats.read_part(0), name=name, dtype=dtype)


@PARTS
def test_matrices_come_straight_from_the_file(
    stored: Bundle, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    read = Tensors.__getitem__

    def recording(self: Tensors, name: str) -> Array:
        asked.append(name)
        return read(self, name)

    monkeypatch.setattr(Tensors, "__getitem__", recording)
    load_engine(stored.read_part(part))
    spec = stored.part(part).spec
    assert not {tensor.name for tensor in spec.tensors() if is_matrix(tensor)} & set(asked)
    assert "pos_embed" in asked


@pytest.mark.parametrize("name", ["native", "torch"])
def test_an_engine_reads_no_file_that_was_not_verified_for_it(
    floats: Bundle, tmp_path: Path, name: str
) -> None:
    """What it is made of is in its part: the bundle may be gone by then."""
    pytest.importorskip("torch")
    here = Path(shutil.copytree(floats.path, tmp_path / "bundle"))
    part = Bundle(here).read_part(1)
    shutil.rmtree(here)
    assert error(load_engine(part, name=name), part.tensors) < ERROR["float32"]


@PARTS
@pytest.mark.parametrize("already", [True, False])
def test_all_ways_to_the_matrices_agree(
    floats: Bundle, stored: Bundle, part: int, *, already: bool
) -> None:
    dtype = storage_of(stored)
    read = (stored if already else floats).read_part(part).tensors
    spec = stored.part(part).spec
    engines = [
        NativeEngine(spec, source, threads=1, isa="", dtype=dtype)
        for source in (read, as_stored(spec, dict(read), dtype))
    ]
    first, second = (engine.features(read["golden.image"]) for engine in engines)
    np.testing.assert_array_equal(first, second)


@PARTS
def test_halves_in_float32_are_the_floats_that_they_stand_for(floats: Bundle, part: int) -> None:
    read, spec = floats.read_part(part).tensors, floats.part(part).spec
    rounded = as_stored(spec, dict(read), "float16")
    image = read["golden.image"]
    wanted = NativeEngine(spec, rounded, threads=1, isa="scalar").features(image)
    found = NativeEngine(spec, read, threads=1, isa="scalar", dtype="float16").features(image)
    np.testing.assert_array_equal(found, wanted)


def test_a_weight_that_no_half_holds_is_named(floats: Bundle) -> None:
    read, spec = dict(floats.read_part(0).tensors), floats.part(0).spec
    read["blocks.0.mlp.fc1.weight"] = read["blocks.0.mlp.fc1.weight"] * np.float32(1e9)
    with pytest.raises(BundleError, match=r"'blocks.0.mlp.fc1.weight' reaches .*as float32"):
        NativeEngine(spec, read, threads=1, isa="", dtype="float16")


def broken(read: dict[str, Any], fault: str) -> dict[str, Any]:
    """Weights as an engine with a fault would see them."""
    name = "blocks.0.mlp.fc1.weight"
    if fault == "transposed":
        read[name] = read[name].T.reshape(read[name].shape).copy()
    elif fault == "without scales":
        read[name] = np.rint(read[name] / np.abs(read[name]).max(1, keepdims=True) * 127)
    elif fault == "first column in all":
        read[name] = np.repeat(read[name][:, :1], read[name].shape[1], axis=1)
    elif fault == "no layer":
        read = {key: value * 0 if ".weight" in key else value for key, value in read.items()}
    return {key: value.astype(np.float32) for key, value in read.items()}


@pytest.mark.parametrize(
    "fault", ["transposed", "without scales", "first column in all", "no layer"]
)
def test_the_golden_check_catches_a_broken_engine(stored: Bundle, fault: str) -> None:
    dtype = storage_of(stored)
    spec, read = stored.part(0).spec, stored.read_part(0).tensors
    weights = broken({tensor.name: read[tensor.name] for tensor in spec.tensors()}, fault)
    engine = NativeEngine(spec, weights, threads=1, isa="", dtype=dtype)
    with pytest.raises(EngineError, match=f"at most {GOLDEN_TOLERANCE[dtype]:g} allowed"):
        check_golden(engine, read)


class Fixed:
    """An engine that gives the same answer whatever it is shown."""

    name, detail = "fixed", ""

    def __init__(self, answer: Array, dtype: Dtype) -> None:
        self.dtype = dtype
        self._answer = answer

    def features(self, image: Array) -> Array:
        del image
        return self._answer


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_each_dtype_has_its_own_tolerance(floats: Bundle, dtype: Dtype) -> None:
    read = floats.read_part(0).tensors
    allowed = GOLDEN_TOLERANCE[dtype]
    wanted = read["golden.feature"]
    check_golden(Fixed(longer(wanted, 0.99 * allowed), dtype), read)
    with pytest.raises(EngineError, match="fails the golden check"):
        check_golden(Fixed(longer(wanted, 1.01 * allowed), dtype), read)


def longer(feature: Array, share: float) -> Array:
    """A feature whose relative error is ``share``."""
    return (feature * (1 + share)).astype(np.float32)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_fails_the_golden_check(
    floats: Bundle, dtype: Dtype, place: int, bad: float
) -> None:
    read = floats.read_part(0).tensors
    answer = read["golden.feature"].copy()
    check_golden(Fixed(answer, dtype), read)
    answer[place] = bad
    with pytest.raises(EngineError, match="fails the golden check"):
        check_golden(Fixed(answer, dtype), read)


@pytest.mark.parametrize(
    "change",
    [
        lambda right: right[:-1],
        lambda right: np.append(right, right[-1]),
        lambda right: right[None],
        lambda right: right[:, None],
        lambda right: right[:1],
        lambda right: right[:0],
    ],
    ids=["short", "long", "row", "column", "one", "none"],
)
def test_a_feature_of_another_shape_fails_the_golden_check(
    floats: Bundle, change: Callable[[Array], Array]
) -> None:
    """Several of these would be stretched to the wanted shape by numpy, one without an error."""
    read = floats.read_part(0).tensors
    answer = change(read["golden.feature"])
    with pytest.raises(EngineError, match="fails the golden check"):
        check_golden(Fixed(answer, "float32"), read)
