"""A bundle is read back as written, or refused: nothing changed goes unnoticed."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.storage import Array
from devit_iot.errors import BundleError
from tests.golden.make import (
    BUNDLE_FINGERPRINT,
    FILES,
    GOLDEN,
    tiny_cct,
    tiny_spec,
    write_tiny,
)
from tests.support.bundle_edit import Edit, edit


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / "bundle", tmp_path / "bundle"))


def replace_file(path: Path, name: str, data: bytes) -> None:
    """Put other content under ``name``, with a manifest that agrees with it."""
    (path / name).write_bytes(data)

    def change(fields: dict[str, Any]) -> None:
        entries = [part["weights"] for part in fields["parts"]] + [fields["fusion"]]
        (entry,) = (entry for entry in entries if entry["file"] == name)
        entry |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    edit(path, change, seal=True)


def replace_tensors(path: Path, name: str, arrays: dict[str, Array]) -> None:
    save_file(arrays, path / "changed")
    replace_file(path, name, (path / "changed").read_bytes())


def test_the_golden_bundle_still_opens() -> None:
    golden = Bundle(GOLDEN / "bundle")
    golden.verify()
    assert golden.fingerprint.hex() == BUNDLE_FINGERPRINT
    assert golden.manifest.classes == ("ant", "bee", "cat")
    assert golden.part(1).spec == tiny_spec(2, prefix_tokens=2)
    assert golden.part(2).spec == tiny_cct()
    assert [part.dtype for part in golden.manifest.parts] == ["float32", "float32", "float16"]
    assert golden.part(0).classes == (0, 1)
    bias = golden.fusion_tensors()["bias"]
    raw = (GOLDEN / "bundle" / "fusion.safetensors").read_bytes()
    header = int.from_bytes(raw[:8], "little")
    begin, end = json.loads(raw[8 : 8 + header])["bias"]["data_offsets"]
    assert raw[8 + header + begin : 8 + header + end] == bias.astype("<f4").tobytes()


def test_the_same_content_has_the_same_fingerprint(tmp_path: Path) -> None:
    one, two = write_tiny(tmp_path / "one"), write_tiny(tmp_path / "two")
    assert one.fingerprint == two.fingerprint
    assert write_tiny(tmp_path / "other", seed=1).fingerprint != one.fingerprint


def test_tensors_are_a_mapping_of_the_spec() -> None:
    found = Bundle(GOLDEN / "bundle").read_part(0).tensors
    spec = tiny_spec()
    assert list(found) == [t.name for t in (*spec.tensors(), *spec.golden_tensors())]
    assert len(found) == 12
    with pytest.raises(KeyError):
        found["no such tensor"]


@pytest.mark.parametrize("index", range(3))
def test_a_part_brings_all_that_an_engine_is_made_of(index: int) -> None:
    golden = Bundle(GOLDEN / "bundle")
    part, entry = golden.read_part(index), golden.manifest.parts[index]
    assert (part.folder, part.index, part.entry) == (GOLDEN / "bundle", index, entry)
    assert (part.spec, part.dtype) == (entry.spec, entry.dtype)
    assert part.tensors["golden.feature"].shape == (entry.spec.feature_dim,)


@pytest.mark.parametrize("index", [-1, 3])
def test_there_is_no_such_part(index: int) -> None:
    with pytest.raises(BundleError, match="parts 0 to 2"):
        Bundle(GOLDEN / "bundle").read_part(index)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_found(tiny: Path, name: str) -> None:
    original = (tiny / name).read_bytes()
    for position in (0, 9, len(original) // 2, len(original) - 1):
        changed = bytearray(original)
        changed[position] ^= 1
        (tiny / name).write_bytes(changed)
        with pytest.raises(BundleError, match="not the file that the manifest names"):
            Bundle(tiny).verify()


@pytest.mark.parametrize("name", FILES)
def test_a_cut_or_longer_file_is_found(tiny: Path, name: str) -> None:
    original = (tiny / name).read_bytes()
    for data in (b"", original[:-1], original + b"\0"):
        (tiny / name).write_bytes(data)
        with pytest.raises(BundleError, match=name):
            Bundle(tiny).verify()


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(tiny: Path, name: str) -> None:
    (tiny / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        Bundle(tiny).verify()


def test_a_board_needs_its_own_part_only(tiny: Path) -> None:
    (tiny / "part-1.safetensors").unlink()
    (tiny / "fusion.safetensors").unlink()
    assert "pos_embed" in Bundle(tiny).read_part(0).tensors


@pytest.mark.parametrize("keep", [0, 1, 100, 1000, -2])
def test_a_cut_manifest_is_refused(tiny: Path, keep: int) -> None:
    manifest = tiny / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:keep].rstrip(b"}\n"))
    with pytest.raises(BundleError, match="does not parse"):
        Bundle(tiny)


@pytest.mark.parametrize(
    "text", [b"\xff\xfe", b"[1]", b"null", b'{"format": "devit-bundle", "version": 2}']
)
def test_a_manifest_that_is_none_is_refused(tiny: Path, text: bytes) -> None:
    (tiny / "manifest.json").write_bytes(text)
    with pytest.raises(BundleError, match="does not parse"):
        Bundle(tiny)


def test_a_deeply_nested_manifest_is_refused(tiny: Path) -> None:
    (tiny / "manifest.json").write_bytes(b'{"format":' + b"[" * 100_000)
    with pytest.raises(BundleError):
        Bundle(tiny)


def test_a_huge_manifest_is_refused_unread(tiny: Path) -> None:
    with (tiny / "manifest.json").open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(BundleError, match="larger than any manifest"):
        Bundle(tiny)


def test_a_manifest_may_have_16_mebibytes(tiny: Path) -> None:
    path = tiny / "manifest.json"
    text = path.read_bytes()
    path.write_bytes(text.ljust(16 * 2**20))
    assert Bundle(tiny).fingerprint.hex() == BUNDLE_FINGERPRINT
    path.write_bytes(text.ljust(16 * 2**20 + 1))
    with pytest.raises(BundleError, match="larger than any manifest"):
        Bundle(tiny)


@pytest.mark.parametrize("more", [-1, 1])
def test_a_file_has_the_size_that_the_manifest_says(tiny: Path, more: int) -> None:
    """The fingerprint does not cover it, so that an edited size is found at the file only."""

    def resize(fields: dict[str, Any]) -> None:
        fields["fusion"]["size"] += more

    edit(tiny, resize)
    with pytest.raises(BundleError, match="size or SHA-256 differ"):
        Bundle(tiny).verify()


def test_no_bundle_at_all(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(BundleError, match="is not a bundle"):
            Bundle(path)


@pytest.mark.parametrize("change", [{"version": 1}, {"version": 5}, {"format": "other"}])
def test_another_version_is_named(tiny: Path, change: dict[str, Any]) -> None:
    def extend(fields: dict[str, Any]) -> None:
        fields |= change | {"key of the future": [1]}

    edit(tiny, extend)
    with pytest.raises(BundleError, match="reads devit-bundle versions 2 to 4"):
        Bundle(tiny)


def set_spec(key: str, value: object) -> Edit:
    def change(fields: dict[str, Any]) -> None:
        fields["parts"][0]["spec"][key] = value

    return change


def other_storage(fields: dict[str, Any]) -> None:
    fields["parts"][0]["dtype"] = "float16"


def swap_parts(fields: dict[str, Any]) -> None:
    fields["parts"].reverse()


def rename_class(fields: dict[str, Any]) -> None:
    fields["classes"][0] = "fly"


def swap_classes(fields: dict[str, Any]) -> None:
    fields["classes"].reverse()


def other_subtask(fields: dict[str, Any]) -> None:
    fields["parts"][0]["classes"] = [1]


def other_weights(fields: dict[str, Any]) -> None:
    fields["parts"][0]["weights"]["sha256"] = "0" * 64


def other_fusion(fields: dict[str, Any]) -> None:
    fields["fusion"]["sha256"] = "0" * 64


@pytest.mark.parametrize(
    "change",
    [
        swap_parts,
        rename_class,
        swap_classes,
        other_subtask,
        other_storage,
        other_weights,
        other_fusion,
        set_spec("norm_eps", 1e-5),
        set_spec("resize_size", 6),
        set_spec("residual_norm", value=True),
    ],
)
def test_an_edited_manifest_is_found_by_its_fingerprint(tiny: Path, change: Edit) -> None:
    edit(tiny, change)
    with pytest.raises(BundleError, match="fingerprint"):
        Bundle(tiny)


def test_name_and_provenance_are_free(tiny: Path) -> None:
    edit(tiny, lambda fields: fields.update(name="other", provenance={"note": "on the shelf"}))
    assert Bundle(tiny).fingerprint.hex() == BUNDLE_FINGERPRINT


def no_parts(fields: dict[str, Any]) -> None:
    fields["parts"] = []


def many_parts(fields: dict[str, Any]) -> None:
    fields["parts"] *= 86


def no_classes(fields: dict[str, Any]) -> None:
    fields["classes"] = []


def many_classes(fields: dict[str, Any]) -> None:
    fields["classes"] = ["x"] * 65536


def class_name(name: str) -> Edit:
    def change(fields: dict[str, Any]) -> None:
        fields["classes"][1] = name

    return change


def class_index(index: int) -> Edit:
    def change(fields: dict[str, Any]) -> None:
        fields["parts"][1]["classes"] = [index]

    return change


def file_name(name: str) -> Edit:
    def change(fields: dict[str, Any]) -> None:
        fields["fusion"]["file"] = name

    return change


def set_layer(key: str, value: int) -> Edit:
    def change(fields: dict[str, Any]) -> None:
        fields["parts"][2]["spec"]["tokenizer"][0][key] = value

    return change


def unknown_key(fields: dict[str, Any]) -> None:
    fields["parts"][0]["spec"]["register_tokens"] = 4


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (no_parts, "1 to 255 parts, got 0"),
        (many_parts, "1 to 255 parts, got 258"),
        (no_classes, "1 to 65535 classes, got 0"),
        (many_classes, "1 to 65535 classes, got 65536"),
        (class_name("a\nb"), "cannot be printed"),
        (class_name("\x1b[2J"), "cannot be printed"),
        (class_name("\u202etac"), "cannot be printed"),
        (class_name("x" * 257), "longer than 256"),
        (lambda fields: fields.update(name="\x07"), "cannot be printed"),
        (class_index(3), "class index"),
        (class_index(-1), "class index"),
        (set_spec("patch_size", 3), "does not divide"),
        (set_layer("stride", 0), "impossible size"),
        (set_layer("padding", 3), "impossible size"),
        (set_layer("kernel_size", 12), "leaves no token"),
        (file_name("../fusion.safetensors"), "not a plain file name"),
        (file_name("/etc/passwd"), "not a plain file name"),
        (file_name("a\\b"), "not a plain file name"),
        (file_name(".hidden"), "not a plain file name"),
        (file_name(".."), "not a plain file name"),
        (file_name(""), "not a plain file name"),
        (file_name("a\n"), "not a plain file name"),
        (file_name("a\0b"), "not a plain file name"),
        (file_name("x" * 101), "not a plain file name"),
    ],
)
def test_an_inconsistent_manifest_is_refused(tiny: Path, change: Edit, problem: str) -> None:
    edit(tiny, change, seal=True)
    with pytest.raises(BundleError, match=problem):
        Bundle(tiny)


def test_an_unknown_key_is_refused(tiny: Path) -> None:
    edit(tiny, unknown_key)
    with pytest.raises(BundleError, match="register_tokens"):
        Bundle(tiny)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_tensor_is_named(tiny: Path, name: str) -> None:
    arrays = load_file(tiny / name)
    gone = min(arrays)
    del arrays[gone]
    replace_tensors(tiny, name, arrays)
    with pytest.raises(BundleError, match=f"lacks tensor '{gone}'"):
        Bundle(tiny).verify()


@pytest.mark.parametrize("name", FILES)
def test_a_tensor_of_another_shape_or_type_is_refused(tiny: Path, name: str) -> None:
    arrays = load_file(tiny / name)
    victim = max(arrays)
    good = arrays[victim]
    other = np.float32 if good.dtype == np.float16 else np.float16
    for bad in (good[..., :-1], good.reshape(-1, 1, 1), good.astype(other)):
        replace_tensors(tiny, name, arrays | {victim: np.ascontiguousarray(bad)})
        with pytest.raises(BundleError, match=f"tensor '{victim}' is"):
            Bundle(tiny).verify()


def test_a_file_that_is_no_safetensors_is_refused(tiny: Path) -> None:
    for data in (b"", b"\x80\x04pickle", b"\xff" * 64, b"\x02" + bytes(7) + b"{}x"):
        replace_file(tiny, "part-0.safetensors", data)
        with pytest.raises(BundleError, match=r"part-0\.safetensors"):
            Bundle(tiny).verify()
