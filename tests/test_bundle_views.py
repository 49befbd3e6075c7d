"""Bundles of version 3, whose parts have views; and of version 2, which have none."""

import shutil
from pathlib import Path

import pytest

from devit_iot.bundle import Bundle
from devit_iot.errors import BundleError
from devit_iot.spec import WHOLE, View
from tests.bundle_edit import Edit, edit
from tests.golden.make import GOLDEN, VIEWS_FINGERPRINT, write_tiny, write_views


def test_the_golden_bundle_with_views_still_opens(tmp_path: Path) -> None:
    golden = Bundle(GOLDEN / "bundle-3")
    golden.verify()
    assert golden.manifest.version == 3
    assert golden.fingerprint.hex() == VIEWS_FINGERPRINT
    assert golden.part(0).spec.view == View(0.0, 0.25, 0.625, 0.75)
    assert golden.part(1).spec.seen == WHOLE
    write_views(tmp_path / "again")
    for file in (GOLDEN / "bundle-3").iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_without_views_nothing_of_version_3_is_written(tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny")
    text = (tmp_path / "tiny/manifest.json").read_text()
    assert text == (GOLDEN / "bundle/manifest.json").read_text()
    assert "view" not in text


def test_the_view_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    path = Path(shutil.copytree(GOLDEN / "bundle-3", tmp_path / "bundle"))
    edit(path, lambda fields: fields["parts"][0]["spec"]["view"].update(x=0.125))
    with pytest.raises(BundleError, match="fingerprint does not match"):
        Bundle(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda fields: fields.update(version=2), "version 3 is for bundles with views"),
        (lambda fields: fields["parts"][0]["spec"].pop("view"), "version 3 is for bundles"),
        (lambda fields: fields["parts"][0]["spec"]["view"].update(x=0.5), "not inside the image"),
        (lambda fields: fields["parts"][0]["spec"]["view"].update(height=0.01), "less than 0.0625"),
        (
            lambda fields: fields["parts"][0]["spec"].update(
                view={"x": 0.0, "y": 0.0, "width": 1.0, "height": 1.0}
            ),
            "version 3 is for bundles with views",
        ),
    ],
)
def test_impossible_views_are_refused(tmp_path: Path, change: Edit, message: str) -> None:
    path = Path(shutil.copytree(GOLDEN / "bundle-3", tmp_path / "bundle"))
    edit(path, change, seal=True)
    with pytest.raises(BundleError, match=message):
        Bundle(path)
