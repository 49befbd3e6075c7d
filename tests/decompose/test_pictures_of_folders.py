"""No picture of a class folder vanishes: it is read, or named among what was left out."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from devit_iot.datasets.other_image import to_png
from devit_iot.datasets.source import read_image_folder
from devit_iot.datasets.sources import open_source
from devit_iot.engine.image import load_image
from devit_iot.errors import DataError, ImageError
from tests.support.spellings import SPEC

KINDS = {
    "jpg": "JPEG", "JPG": "JPEG", "jpeg": "JPEG", "jfif": "JPEG", "jpe": "JPEG", "png": "PNG",
    "webp": "WEBP", "bmp": "BMP", "gif": "GIF", "tif": "TIFF", "tiff": "TIFF", "TIF": "TIFF",
}  # fmt: skip


def picture(seed: int, mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(coarse).resize((40, 40)).convert(mode)


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two classes with a picture of every kind; half of them lie deeper."""
    for label, name in enumerate(("cat", "dog")):
        for index, (suffix, kind) in enumerate(KINDS.items()):
            folder = tmp_path / "tree" / name / ("2024/may" if index % 2 else "")
            folder.mkdir(parents=True, exist_ok=True)
            payload = encoded(picture(index + 100 * label), kind)
            (folder / f"{index}.{suffix}").write_bytes(payload)
    return tmp_path / "tree"


@pytest.mark.parametrize("packed", [False, True])
def test_pictures_of_all_kinds_and_depths_are_read(tree: Path, packed: bool) -> None:  # noqa: FBT001
    source = tree
    if packed:
        source = tree.with_suffix(".zip")
        with zipfile.ZipFile(source, "w") as archive:
            for file in tree.rglob("*.*"):
                archive.write(file, file.relative_to(tree))
    found = open_source(str(source), Path(), split="test", strict=False)
    assert found.classes == ("cat", "dog")
    assert np.bincount(found.labels).tolist() == [len(KINDS)] * 2
    assert found.notes == ()
    assert len(list(read_image_folder(source))) == 2 * len(KINDS)
    for index in range(len(found)):
        sample = found.sample(index)
        number = int(Path(sample.name).stem) + 100 * (sample.class_name == "dog")
        pixels = load_image(sample.payload, SPEC).astype(int)
        wanted = load_image(encoded(picture(number), "PNG"), SPEC).astype(int)
        lossy = Path(sample.name).suffix.lower() in {".jpg", ".jpeg", ".jfif", ".jpe", ".webp"}
        exact = 0 if not lossy and not sample.name.endswith("gif") else 12
        assert np.abs(pixels - wanted).mean() <= exact, sample.name


def test_what_is_no_picture_is_counted_and_named(tree: Path) -> None:
    (tree / "cat/1.heic").write_bytes(b"x")
    (tree / "cat/2.HEIC").write_bytes(b"x")
    (tree / "dog/clip.mp4").write_bytes(b"x")
    (tree / "dog/notes.txt").write_bytes(b"x")
    (tree / "dog/Thumbs.db").write_bytes(b"x")
    (tree / "dog/.DS_Store").write_bytes(b"x")
    (said,) = open_source(str(tree), Path(), split="test", strict=False).notes
    assert "3 files were left out (2 .heic, 1 .mp4)" in said
    assert ".tiff" in said


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("litter", ["@eaDir/0.jpg", "#recycle", ".thumbnails", "__MACOSX"])
@pytest.mark.parametrize("place", ["cat/", ""])
def test_what_storage_servers_put_beside_pictures_is_none(
    tree: Path,
    packed: bool,  # noqa: FBT001
    litter: str,
    place: str,
) -> None:
    """A thumbnail would be learned and counted twice, and its folder taken for a class."""
    folder = tree / f"{place}{litter}"
    folder.mkdir(parents=True)
    (folder / "SYNOPHOTO_THUMB_M.jpg").write_bytes(encoded(picture(1), "JPEG"))
    source = tree
    if packed:
        source = tree.with_suffix(".zip")
        with zipfile.ZipFile(source, "w") as archive:
            for file in tree.rglob("*.*"):
                archive.write(file, file.relative_to(tree))
    found = open_source(str(source), Path(), split="test", strict=False)
    assert found.classes == ("cat", "dog")
    assert np.bincount(found.labels).tolist() == [len(KINDS)] * 2
    assert open_source(str(source), Path(), split="train").classes == ("cat", "dog")


def test_a_class_may_begin_with_the_same_sign(tree: Path) -> None:
    (tree / "dog").rename(tree / "@home")
    assert open_source(str(tree), Path(), split="test", strict=False).classes == ("@home", "cat")


def test_a_link_that_leads_back_repeats_no_picture(tree: Path) -> None:
    (tree / "cat/again").symlink_to(tree / "cat")
    (tree / "dog/2024/all").symlink_to(tree)
    found = open_source(str(tree), Path(), split="test", strict=False)
    assert np.bincount(found.labels).tolist() == [len(KINDS)] * 2


def test_folders_without_end_are_refused(tree: Path) -> None:
    (tree / "cat" / "/".join("d" * 70)).mkdir(parents=True)
    with pytest.raises(DataError, match="more than 64 folders deep"):
        open_source(str(tree), Path(), split="test", strict=False)


def test_a_damaged_picture_of_another_kind_is_named(tree: Path) -> None:
    (tree / "cat/0.bmp").write_bytes(b"BM no bitmap")
    found = open_source(str(tree), Path(), split="test", strict=False)
    with pytest.raises(DataError, match=r"cat/0\.bmp: .*repair or remove the file"):
        found.sample(found.names.index("cat/0.bmp"))


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "P", "CMYK", "I;16"])
def test_conversion_keeps_the_pixels(mode: str) -> None:
    image = picture(1, "L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image, np.uint16) << 8)
    converted = Image.open(io.BytesIO(to_png(encoded(image, "TIFF"))))
    assert converted.format == "PNG"
    if mode == "I;16":
        np.testing.assert_array_equal(np.asarray(converted), np.asarray(image))
    else:
        np.testing.assert_array_equal(converted.convert("RGB"), image.convert("RGB"))


@pytest.mark.parametrize("payload", [b"", b"BM", b"GIF89a", encoded(picture(1), "PNG")])
def test_what_is_none_of_these_kinds_is_refused(payload: bytes) -> None:
    with pytest.raises(ImageError):
        to_png(payload)
