"""Writing a bundle: whole and sound, or not at all."""

from pathlib import Path

import numpy as np
import pytest

from devit_iot.bundle import Array, PartData, write_bundle
from devit_iot.errors import BundleError
from devit_iot.spec import FusionSpec
from tests.golden.make import (
    FILES,
    random_fusion,
    random_part,
    tiny_spec,
    write_tiny,
)


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
