"""Writing a bundle: whole and sound and read back as written, or not at all."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from devit_iot.bundle.reading import Bundle, Tensors
from devit_iot.bundle.spec import BlockSpec, ConvSpec, FusionSpec, SubVitSpec
from devit_iot.bundle.storage import Array, Storage, as_stored
from devit_iot.bundle.writing import PartData, write_bundle
from devit_iot.errors import BundleError
from tests.golden.make import (
    FILES,
    random_fusion,
    random_part,
    tiny_cct,
    tiny_spec,
    write_tiny,
)

STORAGES: tuple[Storage, ...] = ("float32", "float16", "int8")


@st.composite
def part_specs(draw: st.DrawFn) -> SubVitSpec:
    sizes = st.integers(1, 5)
    layers, patch, grid = draw(st.integers(0, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    channels = [draw(sizes) for _ in range(layers + 1)]
    return SubVitSpec(
        image_size=patch * grid,
        resize_size=patch * grid + 1,
        patch_size=0 if layers else patch,
        embed_dim=channels[-1],
        head_dim=draw(st.integers(1, 4)),
        prefix_tokens=0 if layers else draw(st.integers(1, 2)),
        blocks=tuple(draw(st.lists(st.builds(BlockSpec, sizes, sizes), min_size=1, max_size=3))),
        tokenizer=tuple(ConvSpec(c, 3, draw(st.integers(1, 2)), 1) for c in channels[1:]),
        residual_norm=draw(st.booleans()),
    )


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(part_specs(), st.sampled_from(STORAGES)), min_size=1, max_size=3),
    st.integers(1, 4),
    st.integers(0, 99),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    stored: list[tuple[SubVitSpec, Storage]],
    classes: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    specs = [spec for spec, _ in stored]
    parts = [random_part(spec, (seed % classes,), rng, storage) for spec, storage in stored]
    fusion = random_fusion(FusionSpec(classes, tuple(s.feature_dim for s in specs)), rng)
    names = [f"class {index}" for index in range(classes)]
    path = tmp_path_factory.mktemp("round") / "bundle"
    written = write_bundle(
        path, name="n", classes=names, parts=parts, fusion=fusion, provenance={"by": "hand"}
    )
    found = Bundle(path)
    found.verify()
    assert found.manifest == written.manifest
    assert found.fingerprint == written.fingerprint
    assert len(found.fingerprint) == 8
    assert found.manifest.classes == tuple(names)
    assert found.manifest.provenance == {"by": "hand"}
    assert sorted(file.name for file in path.parent.iterdir()) == ["bundle"]
    for index, part in enumerate(parts):
        assert found.part(index).spec == part.spec
        assert found.part(index).classes == part.classes
        assert found.part(index).dtype == part.dtype
        equal(dict(found.read_part(index).tensors), dict(part.tensors))
    equal(dict(found.fusion_tensors()), fusion)


def equal(found: dict[str, Array], wanted: dict[str, Array]) -> None:
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_strided_and_big_endian_arrays_are_stored_right(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    part = random_part(tiny_spec(), (0,), rng)
    fusion = random_fusion(FusionSpec(2, (4,)), rng)
    odd: dict[str, Array] = {}
    for name, array in part.tensors.items():
        odd[name] = (
            np.asfortranarray(array) if array.ndim > 1 else array.astype(f">{array.dtype.str[1:]}")
        )
    found = write_bundle(
        tmp_path / "b",
        name="n",
        classes=("x", "y"),
        parts=[PartData(part.spec, (0,), odd)],
        fusion=fusion,
        provenance={},
    )
    equal(dict(found.read_part(0).tensors), dict(part.tensors))


def write_with(path: Path, name: str, array: Array | None) -> None:
    """Write a bundle of one part with one tensor replaced, or left out."""
    rng = np.random.default_rng(0)
    part = random_part(tiny_spec(), (0,), rng)
    fusion = random_fusion(FusionSpec(2, (4,)), rng)
    arrays = dict(part.tensors)
    target = arrays if name in arrays else fusion
    if array is None:
        del target[name]
    else:
        target[name] = array
    write_bundle(
        path,
        name="n",
        classes=("x", "y"),
        parts=[PartData(part.spec, (0,), arrays)],
        fusion=fusion,
        provenance={},
    )


@pytest.mark.parametrize("name", ["pos_embed", "golden.feature", "bias"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_not_written(tmp_path: Path, name: str, bad: float) -> None:
    shape = {"pos_embed": (5, 4), "golden.feature": (4,), "bias": (2,)}[name]
    array = np.zeros(shape, np.float32)
    array.flat[-1] = bad
    with pytest.raises(BundleError, match=f"'{name}' holds NaN or infinity"):
        write_with(tmp_path / "b", name, array)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    "array", [None, np.zeros((5, 4)), np.zeros((4, 5), np.float32), np.zeros(20, np.float32)]
)
def test_tensors_that_do_not_fit_are_not_written(tmp_path: Path, array: Array | None) -> None:
    with pytest.raises(BundleError, match="tensor 'pos_embed': expected"):
        write_with(tmp_path / "b", "pos_embed", array)
    assert not (tmp_path / "b").exists()


def test_what_exists_is_not_overwritten(tmp_path: Path) -> None:
    kept = tmp_path / "folder" / "kept"
    kept.parent.mkdir()
    kept.write_text("mine")
    for path in (kept.parent, kept):
        with pytest.raises(BundleError, match="exists already"):
            write_tiny(path)
    assert kept.read_text() == "mine"


def test_an_empty_folder_and_an_old_attempt_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b.partial").mkdir()
    (tmp_path / "b.partial" / "stale").write_text("x")
    write_tiny(tmp_path / "b").verify()
    assert sorted(file.name for file in (tmp_path / "b").iterdir()) == sorted(
        [*FILES, "manifest.json"]
    )


def test_files_can_be_read_by_a_service_of_another_user(tmp_path: Path) -> None:
    write_tiny(tmp_path / "b")
    assert all(file.stat().st_mode & 0o044 == 0o044 for file in (tmp_path / "b").iterdir())


def write_part(path: Path, arrays: dict[str, Array], dtype: Storage) -> Bundle:
    spec = tiny_cct()
    return write_bundle(
        path,
        name="n",
        classes=("x",),
        parts=[PartData(spec, (0,), arrays, dtype)],
        fusion=random_fusion(FusionSpec(1, (spec.feature_dim,)), np.random.default_rng(0)),
        provenance={},
    )


def float32_part() -> dict[str, Array]:
    return dict(random_part(tiny_cct(), (0,), np.random.default_rng(0)).tensors)


def test_halves_are_on_disk_only(tmp_path: Path) -> None:
    arrays = as_stored(tiny_cct(), float32_part(), "float16")
    written = write_part(tmp_path / "b", arrays, "float16")
    stored = load_file(tmp_path / "b" / "part-0.safetensors")
    assert sorted(name for name, array in stored.items() if array.dtype == np.float16) == [
        "blocks.0.attn.proj.weight",
        "blocks.0.attn.qkv.weight",
        "blocks.0.mlp.fc1.weight",
        "blocks.0.mlp.fc2.weight",
        "tokenizer.1.weight",
    ]
    for name, array in written.read_part(0).tensors.items():
        assert array.dtype == (np.uint8 if name == "golden.image" else np.float32)
        np.testing.assert_array_equal(array, arrays[name])


@given(st.sampled_from([tiny_spec(2), tiny_cct()]), st.integers(-9, 15), st.integers(0, 99))
def test_rounding_is_that_of_halves(spec: SubVitSpec, exponent: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = {t.name: rng.uniform(-2, 2, t.shape).astype(np.float32) for t in spec.tensors()}
    arrays = {name: np.ldexp(array, exponent - 1) for name, array in arrays.items()}
    rounded = as_stored(spec, arrays, "float16")
    assert rounded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert rounded[name].dtype == np.float32
        error = np.abs(rounded[name].astype(np.float64) - array)
        assert np.all(error <= np.maximum(2.0**-11 * np.abs(array), 2.0**-25))
    again = as_stored(spec, rounded, "float16")
    assert all(np.array_equal(again[name], rounded[name]) for name in rounded)
    same = as_stored(spec, arrays, "float32")
    assert all(np.array_equal(same[name], arrays[name]) for name in arrays)


@pytest.mark.parametrize("value", [65520.0, -1e6])
def test_what_halves_cannot_hold_is_refused(tmp_path: Path, value: float) -> None:
    arrays = as_stored(tiny_cct(), float32_part(), "float16")
    arrays["blocks.0.mlp.fc1.weight"][0, 0] = value
    with pytest.raises(BundleError, match=r"fc1.weight' reaches .* float16 ends at 65504"):
        as_stored(tiny_cct(), arrays, "float16")
    with pytest.raises(BundleError, match=r"fc1.weight' reaches .* float16 ends at 65504"):
        write_part(tmp_path / "b", arrays, "float16")
    assert not (tmp_path / "b").exists()
    write_part(tmp_path / "b", arrays, "float32").verify()


def test_weights_that_are_not_rounded_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not rounded to float16"):
        write_part(tmp_path / "b", float32_part(), "float16")
    assert not (tmp_path / "b").exists()


def test_storage_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    arrays = as_stored(tiny_cct(), float32_part(), "float16")
    whole = write_part(tmp_path / "whole", arrays, "float32")
    halves = write_part(tmp_path / "halves", arrays, "float16")
    assert whole.fingerprint != halves.fingerprint
    sizes = [made.part(0).weights.size for made in (whole, halves)]
    assert sizes[1] < sizes[0]


def test_bytes_are_on_disk_only(tmp_path: Path) -> None:
    arrays = as_stored(tiny_cct(), float32_part(), "int8")
    written = write_part(tmp_path / "b", arrays, "int8")
    stored = load_file(tmp_path / "b" / "part-0.safetensors")
    matrices = {name for name, array in stored.items() if array.dtype == np.int8}
    assert {f"{name}.scale" for name in matrices} == stored.keys() - arrays.keys()
    assert "tokenizer.1.weight" in matrices
    assert "tokenizer.0.weight" not in matrices
    for name, array in written.read_part(0).tensors.items():
        assert array.dtype == (np.uint8 if name == "golden.image" else np.float32)
        np.testing.assert_array_equal(array, arrays[name])


@given(st.sampled_from([tiny_spec(2), tiny_cct()]), st.integers(-30, 30), st.integers(0, 99))
def test_rounding_is_that_of_bytes(spec: SubVitSpec, exponent: int, seed: int) -> None:
    """At most half a step, the step being a row's largest number / 127, and 2 ** -11 of it more."""
    rng = np.random.default_rng(seed)
    arrays = {t.name: rng.normal(size=t.shape).astype(np.float32) for t in spec.tensors()}
    arrays = {name: np.ldexp(array, exponent) for name, array in arrays.items()}
    arrays["blocks.0.mlp.fc1.weight"][1] = 0
    rounded = as_stored(spec, arrays, "int8")
    for name, array in arrays.items():
        if name.startswith("blocks") and array.ndim > 1:
            step = np.abs(array).max(axis=1, keepdims=True).astype(np.float64) / 127
            error = np.abs(rounded[name].astype(np.float64) - array)
            assert np.all(error <= step * (0.5 + 2**-11))
        elif array.ndim == 1 or name == "pos_embed":
            assert np.array_equal(rounded[name], array)
    again = as_stored(spec, rounded, "int8")
    assert all(np.array_equal(again[name], rounded[name]) for name in rounded)


def test_a_file_without_a_scale_is_refused(tmp_path: Path) -> None:
    write_part(tmp_path / "b", as_stored(tiny_cct(), float32_part(), "int8"), "int8")
    path = tmp_path / "b" / "part-0.safetensors"
    kept = {k: v for k, v in load_file(path).items() if k != "blocks.0.mlp.fc1.weight.scale"}
    save_file(kept, path)
    with pytest.raises(BundleError, match=r"lacks tensor 'blocks\.0\.mlp\.fc1\.weight\.scale'"):
        Tensors(path, tiny_cct().tensors(), "int8")
