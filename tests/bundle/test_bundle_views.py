"""Versions 3 and 4, whose parts see or resize in a way of their own; and 2, which has neither."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import CROPPED, WHOLE, Resize, View
from devit_iot.cli.bundle import bundle as command
from devit_iot.errors import BundleError
from tests.golden.make import (
    GOLDEN,
    RESIZES_FINGERPRINT,
    VIEWS_FINGERPRINT,
    write_resizes,
    write_tiny,
    write_views,
)
from tests.support.bundle_edit import Edit, edit


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


def test_the_golden_bundle_with_resizes_still_opens(tmp_path: Path) -> None:
    golden = Bundle(GOLDEN / "bundle-4")
    golden.verify()
    assert golden.manifest.version == 4
    assert golden.fingerprint.hex() == RESIZES_FINGERPRINT
    found = [golden.part(index).spec.resized for index in range(3)]
    assert found == [Resize("squash"), Resize("crop", "bilinear"), CROPPED]
    write_resizes(tmp_path / "again")
    for file in (GOLDEN / "bundle-4").iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_info_says_how_images_are_resized() -> None:
    said = CliRunner().invoke(command, ["info", str(GOLDEN / "bundle-4")]).output
    assert "part 0 resizes images by squash, bicubic\npart 1 resizes images by crop, bil" in said
    assert "part 2 resizes" not in said
    assert "resizes" not in CliRunner().invoke(command, ["info", str(GOLDEN / "bundle-3")]).output


def test_without_views_nothing_of_version_3_is_written(tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny")
    text = (tmp_path / "tiny/manifest.json").read_text()
    assert text == (GOLDEN / "bundle/manifest.json").read_text()
    assert "view" not in text
    assert '"resize"' not in text


def test_the_view_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    path = Path(shutil.copytree(GOLDEN / "bundle-3", tmp_path / "bundle"))
    edit(path, lambda fields: fields["parts"][0]["spec"]["view"].update(x=0.125))
    with pytest.raises(BundleError, match="fingerprint does not match"):
        Bundle(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda fields: fields.update(version=2), "says version 2, .* version 3"),
        (lambda fields: fields["parts"][0]["spec"].pop("view"), "says version 3, .* version 2"),
        (lambda fields: fields["parts"][0]["spec"]["view"].update(x=0.5), "not inside the image"),
        (lambda fields: fields["parts"][0]["spec"]["view"].update(height=0.01), "less than 0.0625"),
        (
            lambda fields: fields["parts"][0]["spec"].update(
                view={"x": 0.0, "y": 0.0, "width": 1.0, "height": 1.0}
            ),
            "says version 3, .* version 2",
        ),
    ],
)
def test_impossible_views_are_refused(tmp_path: Path, change: Edit, message: str) -> None:
    path = Path(shutil.copytree(GOLDEN / "bundle-3", tmp_path / "bundle"))
    edit(path, change, seal=True)
    with pytest.raises(BundleError, match=message):
        Bundle(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda fields: fields.update(version=3), "says version 3, .* version 4"),
        (lambda parts: [part["spec"].pop("resize", 0) for part in parts["parts"]],
         "says version 4, .* version 3"),
        (lambda fields: fields["parts"][2]["spec"].update(
            resize={"fit": "crop", "filter": "bicubic"}), "is to be left out"),
    ],
)  # fmt: skip
def test_impossible_resizes_are_refused(tmp_path: Path, change: Edit, message: str) -> None:
    path = Path(shutil.copytree(GOLDEN / "bundle-4", tmp_path / "bundle"))
    edit(path, change, seal=True)
    with pytest.raises(BundleError, match=message):
        Bundle(path)


@pytest.mark.parametrize("key", ["fit", "filter"])
def test_a_resize_of_the_future_is_refused(tmp_path: Path, key: str) -> None:
    path = Path(shutil.copytree(GOLDEN / "bundle-4", tmp_path / "bundle"))
    edit(path, lambda fields: fields["parts"][0]["spec"]["resize"].update({key: "pad"}))
    with pytest.raises(BundleError, match="does not parse: Invalid enum value 'pad'"):
        Bundle(path)
