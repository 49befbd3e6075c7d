"""``devit bundle quantize``: what it writes, and that its report is what brute force says."""

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.storage import Storage, as_stored
from devit_iot.cli.bundle import bundle as command
from devit_iot.engine.base import load_engine
from devit_iot.errors import BundleError
from devit_iot.evaluation.local import LocalFleet
from devit_iot.export import reference
from devit_iot.export.quantize import quantize_bundle
from tests.support.fleets import CLASSES, image_folder, make_bundle

STORAGES = pytest.mark.parametrize("storage", ["int8", "float16", "float32"])
IMAGES = 20


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("quantize") / "source")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "photos", IMAGES)


def run(source: Bundle, output: Path, *options: str) -> Result:
    return CliRunner().invoke(
        command, ["quantize", str(source.path), "--output", str(output), *options]
    )


@STORAGES
def test_a_bundle_is_the_same_but_for_its_rounding(
    source: Bundle, tmp_path: Path, storage: Storage
) -> None:
    made = quantize_bundle(source, storage, tmp_path / "made")
    old, new = source.manifest, made.manifest
    assert (new.name, new.classes, new.fusion.sha256) == (old.name, old.classes, old.fusion.sha256)
    assert {part.dtype for part in new.parts} == {storage}
    assert new.provenance["stored_again"] == f"from {old.fingerprint}"
    for index, (before, after) in enumerate(zip(old.parts, new.parts, strict=True)):
        assert (after.spec, after.classes) == (before.spec, before.classes)
        read, found = source.read_part(index).tensors, made.read_part(index).tensors
        wanted = as_stored(after.spec, dict(read), storage)
        for tensor in after.spec.tensors():
            np.testing.assert_array_equal(found[tensor.name], wanted[tensor.name])
        np.testing.assert_array_equal(found["golden.image"], read["golden.image"])
        feature = reference.features(after.spec, found, found["golden.image"][None])[0]
        np.testing.assert_array_equal(found["golden.feature"], feature.astype(np.float32))
        assert load_engine(made.read_part(index)).dtype == storage


@STORAGES
def test_storing_again_changes_nothing(source: Bundle, tmp_path: Path, storage: Storage) -> None:
    once = quantize_bundle(source, storage, tmp_path / "once")
    twice = quantize_bundle(once, storage, tmp_path / "twice")
    assert [part.weights for part in once.manifest.parts] == [
        part.weights for part in twice.manifest.parts
    ]
    assert once.manifest.fingerprint == twice.manifest.fingerprint


def test_bytes_take_a_quarter(source: Bundle, tmp_path: Path) -> None:
    floats, small = (
        quantize_bundle(source, storage, tmp_path / storage) for storage in ("float32", "int8")
    )
    for before, after in zip(floats.manifest.parts, small.manifest.parts, strict=True):
        assert after.weights.size < before.weights.size


def test_an_existing_output_is_kept(source: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(BundleError, match="exists already"):
        quantize_bundle(source, "int8", tmp_path)
    result = run(source, tmp_path)
    assert (result.exit_code, "exists already" in result.output) == (1, True)


def number(pattern: str, text: str) -> float:
    (found,) = re.findall(pattern, text)
    return float(found)


def test_the_report_is_what_brute_force_says(source: Bundle, tmp_path: Path, photos: Path) -> None:
    result = run(source, tmp_path / "made", "--data", str(photos))
    assert result.exit_code == 0, result.output
    fleets = LocalFleet(source), LocalFleet(Bundle(tmp_path / "made"))
    files = sorted(photos.rglob("*.png"), key=lambda file: (file.parent.name, file.name))
    labels = np.array([CLASSES.index(file.parent.name) for file in files])
    features = [
        [[found.values for found in fleet.features(file.read_bytes())] for file in files]
        for fleet in fleets
    ]
    logits = [
        np.stack([fleet.fusion.logits(dict(enumerate(row))) for row in rows])
        for fleet, rows in zip(fleets, features, strict=True)
    ]
    old, new = (values.argmax(axis=1) for values in logits)
    text = result.output
    assert f"{IMAGES} images: the same answer for {(old == new).mean():.2%}" in text
    assert f"top-1 {(old == labels).mean():.2%} -> {(new == labels).mean():.2%}" in text
    error = np.linalg.norm(logits[1] - logits[0]) / np.linalg.norm(logits[0])
    assert number(r"logits (\S+);", text) == pytest.approx(error, rel=0.06)
    last = [np.stack([row[-1] for row in rows]) for rows in features]
    error = np.linalg.norm(last[1] - last[0]) / np.linalg.norm(last[0])
    assert number(r"(\S+)\ncomputed by", text) == pytest.approx(error, rel=0.06)
    assert ", float32, " in text
    assert ", int8, " in text


def test_images_of_other_things_are_compared_without_top1(
    source: Bundle, tmp_path: Path, photos: Path
) -> None:
    (photos / "ant").rename(photos / "zebra")
    (photos / "bee" / "broken.png").write_bytes(b"no image")
    result = run(source, tmp_path / "made", "--data", str(photos), "--storage", "float16")
    assert result.exit_code == 0, result.output
    assert "no top-1: 'zebra'" in result.output
    assert f"{IMAGES} images, 1 unreadable: the same answer for" in result.output
    assert "top-1 " not in result.stdout


def test_only_some_images_are_compared(source: Bundle, tmp_path: Path, photos: Path) -> None:
    result = run(source, tmp_path / "made", "--data", str(photos), "--count", "7")
    assert "7 images: the same answer" in result.output


def test_without_images_it_only_writes(source: Bundle, tmp_path: Path) -> None:
    result = run(source, tmp_path / "made")
    assert result.exit_code == 0, result.output
    assert "same answer" not in result.output
    Bundle(tmp_path / "made").verify()


def test_a_wrong_data_set_writes_nothing(source: Bundle, tmp_path: Path) -> None:
    result = run(source, tmp_path / "made", "--data", str(tmp_path / "nothing"))
    assert result.exit_code == 1
    assert not (tmp_path / "made").exists()
