"""Engines in int8: who computes so, from which bytes, and that the golden check still checks."""

from typing import Any

import numpy as np
import pytest

from devit_iot.bundle import Bundle, PartData, Tensors, write_bundle
from devit_iot.decompose.reference import with_golden
from devit_iot.engine.base import GOLDEN_TOLERANCE, Engine, check_golden, load_engine
from devit_iot.engine.native import NativeEngine
from devit_iot.errors import EngineError
from devit_iot.spec import tensors
from devit_iot.storage import Array, Dtype, Storage, as_stored, is_matrix
from tests.fleets import CLASSES, make_bundle

PARTS = pytest.mark.parametrize("part", range(3), ids=["ViT", "DeiT", "CCT"])


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("floats") / "bundle")


@pytest.fixture(scope="module")
def stored(floats: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same fleet, its parts stored in int8."""
    parts = []
    for index, entry in enumerate(floats.manifest.parts):
        read = dict(floats.part_tensors(index))
        rounded = as_stored(entry.spec, read, "int8")
        image = read["golden.image"]
        data = with_golden(entry.spec, rounded, image)
        parts.append(PartData(entry.spec, entry.classes, data, "int8"))
    return write_bundle(
        tmp_path_factory.mktemp("stored") / "bundle",
        name="tiny",
        classes=CLASSES,
        parts=parts,
        fusion=floats.fusion_tensors(),
        provenance={},
    )


def error(engine: Engine, read: Tensors) -> float:
    wanted = read["golden.feature"]
    return float(
        np.linalg.norm(engine.features(read["golden.image"]) - wanted) / np.linalg.norm(wanted)
    )


@PARTS
@pytest.mark.parametrize("dtype", [None, "float32", "int8"])
def test_a_part_is_computed_in_what_it_is_stored_in_unless_told(
    floats: Bundle, stored: Bundle, part: int, dtype: Dtype | None
) -> None:
    for bundle, own in ((floats, "float32"), (stored, "int8")):
        engine = load_engine(bundle, part, dtype=dtype)
        assert engine.dtype == (dtype or own)
        assert engine.dtype in engine.detail
        assert error(engine, bundle.part_tensors(part)) < (
            1e-5 if engine.dtype == "float32" else 0.05
        )


@pytest.mark.parametrize("name", ["torch", "tflite"])
def test_engines_in_float32_say_that_they_have_no_int8(stored: Bundle, name: str) -> None:
    pytest.importorskip({"torch": "torch", "tflite": "ai_edge_litert"}[name])
    with pytest.raises(EngineError, match=f"engine '{name}': .*int8 cannot be had"):
        load_engine(stored, 0, name=name, dtype="int8")


@PARTS
def test_bytes_come_straight_from_the_file(
    stored: Bundle, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    read = Tensors.__getitem__

    def recording(self: Tensors, name: str) -> Array:
        asked.append(name)
        return read(self, name)

    monkeypatch.setattr(Tensors, "__getitem__", recording)
    load_engine(stored, part)
    spec = stored.part(part).spec
    assert not {tensor.name for tensor in tensors(spec) if is_matrix(tensor)} & set(asked)
    assert "pos_embed" in asked


@PARTS
@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_both_ways_to_the_bytes_agree(
    floats: Bundle, stored: Bundle, part: int, storage: Storage
) -> None:
    bundle = {"float32": floats, "int8": stored}[storage]
    read = bundle.part_tensors(part)
    spec = bundle.part(part).spec
    engines = [
        NativeEngine(spec, source, threads=1, isa="", dtype="int8")
        for source in (read, as_stored(spec, dict(read), "int8"))
    ]
    first, second = (engine.features(read["golden.image"]) for engine in engines)
    np.testing.assert_array_equal(first, second)


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
    spec, read = stored.part(0).spec, stored.part_tensors(0)
    weights = broken({tensor.name: read[tensor.name] for tensor in tensors(spec)}, fault)
    engine = NativeEngine(spec, weights, threads=1, isa="", dtype="int8")
    with pytest.raises(EngineError, match=f"at most {GOLDEN_TOLERANCE['int8']:g} allowed"):
        check_golden(engine, read)


class Noisy:
    """A sound engine, but for an error of a given size."""

    name, detail = "noisy", ""

    def __init__(self, wanted: Array, size: float, dtype: Dtype) -> None:
        self.dtype = dtype
        self._answer = (wanted * (1 + size)).astype(np.float32)

    def features(self, image: Array) -> Array:
        del image
        return self._answer


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_each_dtype_has_its_own_tolerance(stored: Bundle, dtype: Dtype) -> None:
    read = stored.part_tensors(0)
    allowed = GOLDEN_TOLERANCE[dtype]
    check_golden(Noisy(read["golden.feature"], 0.99 * allowed, dtype), read)
    with pytest.raises(EngineError, match="fails the golden check"):
        check_golden(Noisy(read["golden.feature"], 1.01 * allowed, dtype), read)
