"""Image folders in every wrapping, and the errors that must come before any training."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from devit_iot.bundle.spec import BlockSpec, SubVitSpec
from devit_iot.datasets.digits import read_digits
from devit_iot.datasets.source import (
    ImageSource,
    check_headers,
    decode_source,
    hold_out,
    write_image_zip,
)
from devit_iot.datasets.sources import check_same_classes, open_source
from devit_iot.engine.image import load_image
from devit_iot.errors import DataError

SPEC = SubVitSpec(32, 36, 8, 4, 2, 1, (BlockSpec(1, 4),))


def decode(payload: bytes) -> NDArray[np.uint8]:
    return load_image(payload, SPEC)


def plant(root: Path, *names: str) -> Path:
    """Write a small image of its own colours at each name below ``root``."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        seed = sum(name.encode())
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(path)
    return root


def tar(folder: Path, file: Path, top: str) -> None:
    with tarfile.open(file, "w") as archive:
        archive.add(folder, top)


def zipped(folder: Path, file: Path, top: str) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.rglob("*"):
            archive.write(path, Path(top) / path.relative_to(folder))


PHOTOS = ("ant/1.png", "bee/1.jpg", "bee/2.webp", "train/1.jpeg")


@pytest.mark.parametrize("top", ["", ".", "./photos"])
@pytest.mark.parametrize("pack", [tar, zipped])
def test_folder_and_archives_hold_the_same(
    tmp_path: Path, pack: Callable[[Path, Path, str], None], top: str
) -> None:
    plant(tmp_path / "photos", *PHOTOS, ".cache/hidden.png")
    (tmp_path / "photos" / "bee" / "notes.txt").write_text("no image")
    pack(tmp_path / "photos", tmp_path / "packed", top)
    folder = open_source("photos", tmp_path, split="train", strict=False)
    packed = open_source("packed", tmp_path, split="test", strict=False)
    assert folder.classes == packed.classes == ("ant", "bee", "train")
    assert folder.names == packed.names == PHOTOS
    assert folder.labels.tolist() == packed.labels.tolist() == [0, 1, 1, 2]
    for index, name in enumerate(PHOTOS):
        payload = (tmp_path / "photos" / name).read_bytes()
        assert folder.sample(index) == packed.sample(index) == (name, payload)
    check_headers(packed)


def test_a_training_splits_what_has_no_splits(tmp_path: Path) -> None:
    names = [f"{name}/{index}.png" for name in ("ant", "bee", "cat") for index in range(40)]
    plant(tmp_path / "photos", *names, "dog/1.png", "dog/2.png")

    def splits() -> tuple[list[str], list[str]]:
        train, test = (open_source("photos", tmp_path, split=name) for name in ("train", "test"))
        assert train.classes == test.classes == ("ant", "bee", "cat", "dog")
        return list(train.names), list(test.names)

    train, test = splits()
    assert sorted(train + test) == sorted([*names, "dog/1.png", "dog/2.png"])
    for name in ("ant", "bee", "cat"):
        assert 2 <= sum(one.startswith(name) for one in test) <= 16  # 8 of 40 on average
    assert sum(one.startswith("dog") for one in test) == 1
    gone = next(one for one in train if one.startswith("ant"))
    (tmp_path / "photos" / gone).unlink()
    again, same = splits()
    assert same == test  # an image that goes moves no other
    assert again == [name for name in train if name != gone]
    (tmp_path / "photos" / "dog/1.png").unlink()
    with pytest.raises(DataError, match=r"'dog' of .* has one image, too few to train and to test"):
        splits()


def split_folders(root: Path) -> str:
    plant(root / "set", "train/ant/1.png", "train/bee/1.png", "val/ant/2.png", "val/bee/2.png")
    return "set"


def split_archives(root: Path) -> str:
    split_folders(root)
    for split, name in (("train", "train"), ("val", "test")):
        tar(root / "set" / split, root / "set" / f"{name}.tar", "")
        for path in sorted((root / "set" / split).rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        (root / "set" / split).rmdir()
    return "set"


def split_zip(root: Path) -> str:
    zipped(root / split_folders(root), root / "set.zip", "set")
    return "set.zip"


@pytest.mark.parametrize("make", [split_folders, split_archives, split_zip])
def test_data_sets_with_splits(tmp_path: Path, make: Callable[[Path], str]) -> None:
    source = make(tmp_path)
    train = open_source(source, tmp_path, split="train")
    test = open_source(source, tmp_path, split="test")
    assert train.names == ("ant/1.png", "bee/1.png")
    assert test.names == ("ant/2.png", "bee/2.png")
    assert train.classes == test.classes
    check_same_classes(train, test)
    assert not {train.sample(i).payload for i in range(2)} & {test.sample(0).payload}


def test_class_names_beside_numbered_folders(tmp_path: Path) -> None:
    plant(tmp_path / "set", "train/002/1.png", "train/010/1.png")
    names = tmp_path / "set" / "class_names.txt"
    names.write_text("\n".join(f"flower {line}" for line in range(1, 11)) + "\n")
    source = open_source("set", tmp_path, split="train")
    assert source.classes == ("flower 2", "flower 10")
    assert source.names[1] == "010/1.png"
    names.write_text("rose\ntulip\n")
    with pytest.raises(DataError, match=r"class_names\.txt has 2 lines, none for .*'010'"):
        open_source("set", tmp_path, split="train")
    names.write_text("rose\n" * 12)
    with pytest.raises(DataError, match="'rose' twice"):
        open_source("set", tmp_path, split="train")


@pytest.mark.parametrize(
    ("folders", "wanted", "said"),
    [
        (("0", "1", "3"), ("rose", "tulip", "aster"), "folders are numbered from 0, to 3: folder"),
        (("1", "4"), ("rose", "aster"), ""),
        (("001", "002"), ("rose", "tulip"), "ASSUMED: folders are numbered from 1, though"),
    ],
)
def test_numbered_folders_count_from_zero_if_there_is_one(
    tmp_path: Path, folders: tuple[str, ...], wanted: tuple[str, ...], said: str
) -> None:
    plant(tmp_path / "set", *(f"train/{folder}/1.png" for folder in folders))
    (tmp_path / "set/class_names.txt").write_text("rose\ntulip\nlily\naster\n")
    source = open_source("set", tmp_path, split="train")
    assert source.classes == wanted
    assert len(source.notes) == bool(said)
    assert all(note.startswith(said) for note in source.notes)


def test_numbered_folders_that_fit_neither_way_are_refused(tmp_path: Path) -> None:
    plant(tmp_path / "set", "train/0/1.png", "train/2/1.png")
    (tmp_path / "set/class_names.txt").write_text("rose\ntulip\n")
    with pytest.raises(DataError, match="neither counted from 0 nor from 1 do they fit"):
        open_source("set", tmp_path, split="train")


def test_images_are_read_when_asked_for(tmp_path: Path) -> None:
    source = open_source(
        str(plant(tmp_path, "ant/1.png", "bee/1.png")), Path(), split="train", strict=False
    )
    (tmp_path / "bee" / "1.png").write_bytes(b"changed")
    assert source.sample(1).payload == b"changed"
    (tmp_path / "bee" / "1.png").unlink()
    with pytest.raises(DataError, match=r"bee/1\.png of .* cannot be read"):
        source.sample(1)


def test_decoding_goes_through_the_function_that_serves(tmp_path: Path) -> None:
    plant(tmp_path, *(f"{name}/{i}.png" for name in ("ant", "bee") for i in range(70)))
    source = open_source(str(tmp_path), Path(), split="train", strict=False)
    seen: list[tuple[int, int]] = []
    decoded = decode_source(source, decode, progress=lambda *done: seen.append(done), threads=3)
    assert decoded.images.shape == (140, 32, 32, 3)
    assert decoded.images.dtype == np.uint8
    for index in (0, 63, 64, 139):
        np.testing.assert_array_equal(decoded.images[index], decode(source.sample(index).payload))
    assert seen == [(64, 140), (128, 140), (140, 140)]
    few = source.subset(np.array([139, 2]))
    assert few.names == ("bee/9.png", "ant/10.png")
    assert few.labels.tolist() == [1, 0]
    assert few.sample(0) == source.sample(139)
    (tmp_path / "bee" / "17.png").write_bytes((tmp_path / "bee" / "17.png").read_bytes()[:500])
    with pytest.raises(DataError, match=r"bee/17\.png: .*repair or remove the file"):
        decode_source(source, decode)


def test_headers_are_a_cheap_check(tmp_path: Path) -> None:
    plant(tmp_path, *(f"ant/{i}.png" for i in range(70)), "bee/1.jpg", "bee/2.webp")
    source = open_source(str(tmp_path), Path(), split="train", strict=False)
    seen: list[int] = []
    check_headers(source, progress=lambda done, _: seen.append(done))
    assert seen == [64, 72]
    (tmp_path / "ant" / "7.png").write_bytes(b"<html>not found</html>")
    (tmp_path / "bee" / "1.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"ant/7\.png of .* \(1 more like it\); repair or remove"):
        check_headers(source)


def test_the_digits_and_their_old_names() -> None:
    for name, split in (("digits", "test"), ("digits:test", "train")):
        source = open_source(name, Path("/nowhere"), split=split)
        samples = list(read_digits(held_out=True))
        assert [source.sample(index) for index in range(len(source))] == samples
        assert source.classes == tuple("0123456789")
    with pytest.raises(DataError, match="digits have no split 'val'"):
        open_source("digits:val", Path(), split="train")


def empty_class(root: Path) -> None:
    plant(root, "ant/1.png", "bee/1.png")
    (root / "cow").mkdir()
    (root / "cow" / "1.heic").write_bytes(b"x")


def other_classes(root: Path) -> None:
    plant(root, "train/ant/1.png", "train/bee/1.png", "test/ant/1.png", "test/cow/1.png")


def packed_images(root: Path) -> None:
    plant(root / "photos", *PHOTOS)
    with tarfile.open(root / "photos.tar.gz", "w:gz") as archive:
        archive.add(root / "photos", "")


def cut_tar(root: Path) -> None:
    plant(root / "photos", *PHOTOS)
    tar(root / "photos", root / "whole.tar", "")
    (root / "cut.tar").write_bytes((root / "whole.tar").read_bytes()[:6000])


def cut_zip(root: Path) -> None:
    plant(root / "photos", *PHOTOS)
    zipped(root / "photos", root / "whole.zip", "")
    (root / "cut.zip").write_bytes((root / "whole.zip").read_bytes()[:6000])


def large_file(root: Path) -> None:
    plant(root, "ant/1.png", "bee/1.png")
    with (root / "bee" / "1.png").open("wb") as file:
        file.truncate(64 * 2**20 + 1)


UNUSABLE: list[tuple[Callable[[Path], object], str, str]] = [
    (lambda root: root, "absent", "absent is neither a folder .*: there is no such path"),
    (lambda root: (root / "x").write_text("x"), "x", "truncated or something else"),
    (lambda root: root, ".", "holds no class/image file"),
    (lambda root: plant(root, "1.png"), ".", "holds no class/image file"),
    (lambda root: plant(root, "ant/1.png"), ".", "only the class 'ant'; at least two"),
    (empty_class, ".", "class folder 'cow' of .* holds no image .*add images or remove"),
    (other_classes, ".", "train and .*test differ in bee, cow"),
    (lambda root: plant(root, "test/ant/1.png", "test/bee/1.png"), ".", "has no train split"),
    (packed_images, "photos.tar.gz", "compressed tar of images; extract it"),
    (cut_tar, "cut.tar", "cut.tar is truncated or damaged .*download it again"),
    (cut_zip, "cut.zip", "cut.zip is neither .* truncated"),
]


@pytest.mark.parametrize(("make", "source", "message"), UNUSABLE, ids=[m for *_, m in UNUSABLE])
def test_unusable_data_is_refused_by_name(
    tmp_path: Path, make: Callable[[Path], object], source: str, message: str
) -> None:
    make(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        open_source(source, tmp_path, split="train")
    assert "\n" not in str(caught.value)


def test_a_tar_cut_anywhere_is_refused(tmp_path: Path) -> None:
    plant(tmp_path / "photos", *PHOTOS)
    tar(tmp_path / "photos", tmp_path / "whole.tar", "")
    whole = (tmp_path / "whole.tar").read_bytes()
    with tarfile.open(tmp_path / "whole.tar") as archive:
        edges = [edge for info in archive for edge in (info.offset, info.offset_data)][3:]
    for size in [edge + extra for edge in edges for extra in (0, 100, 512)]:
        (tmp_path / "cut.tar").write_bytes(whole[:size])
        with pytest.raises(DataError, match="truncated"):
            open_source("cut.tar", tmp_path, split="train")


def test_evaluation_needs_less_than_training(tmp_path: Path) -> None:
    plant(tmp_path, "test/ant/1.png", "train/bee/1.png")
    (tmp_path / "test" / "cow").mkdir()
    source = open_source(str(tmp_path), Path(), split="test", strict=False)
    assert source.classes == ("ant",)
    with pytest.raises(DataError, match="no split 'val'; there are: train, test"):
        open_source(str(tmp_path), Path(), split="val")


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    large_file(tmp_path)
    source = open_source(str(tmp_path), Path(), split="train", strict=False)
    with pytest.raises(DataError, match=r"bee/1\.png has 67108865 bytes; at most"):
        source.sample(1)


def test_labels_must_fit() -> None:
    def source(*labels: int) -> ImageSource:
        names = ("a/1.png", "b/1.png")
        return ImageSource("set", ("a", "b"), names, np.array(labels), lambda _i, _n: b"")

    assert len(source(0, 1)) == 2
    with pytest.raises(DataError, match="set has 3 labels for 2 images"):
        source(0, 1, 1)
    with pytest.raises(DataError, match=r"set: b/1\.png has label 2, but there are 2 classes"):
        source(0, 2)
    with pytest.raises(DataError, match="label -1"):
        source(-1, 0)


def test_the_order_of_classes_counts() -> None:
    def source(*classes: str) -> ImageSource:
        return ImageSource("set", classes, (), np.zeros(0, np.int64), lambda _i, _n: b"")

    with pytest.raises(DataError, match="differ in their order"):
        check_same_classes(source("a", "b"), source("b", "a"))


def test_hold_out_takes_its_share_of_every_class() -> None:
    labels = np.repeat([0, 1, 2, 3], [100, 40, 7, 2])[np.random.default_rng(0).permutation(149)]
    train, held_out = hold_out(labels, 0.1, seed=5)
    assert np.bincount(labels[held_out]).tolist() == [10, 4, 1, 1]
    assert sorted([*train, *held_out]) == list(range(149))
    assert (np.diff(train) > 0).all()
    assert (np.diff(held_out) > 0).all()
    again = hold_out(labels, 0.1, seed=5)[1]
    np.testing.assert_array_equal(held_out, again)
    assert held_out.tolist() != hold_out(labels, 0.1, seed=6)[1].tolist()
    assert np.bincount(labels[hold_out(labels, 0.9, seed=5)[0]]).tolist() == [10, 4, 1, 1]
    for fraction in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(DataError, match="between 0 and 1"):
            hold_out(labels, fraction, seed=5)
    with pytest.raises(DataError, match="class 1 has one image"):
        hold_out(np.array([0, 0, 1]), 0.5, seed=0)


def test_a_source_can_be_written_as_a_zip_and_read_again(tmp_path: Path) -> None:
    digits = open_source("digits", tmp_path, split="test")
    write_image_zip(tmp_path / "d.zip", (digits.sample(i) for i in range(len(digits))))
    again = open_source("d.zip", tmp_path, split="test", strict=False)
    assert again.classes == digits.classes
    assert sorted(again.names) == sorted(digits.names)
    with Image.open(io.BytesIO(again.sample(0).payload)) as image:
        assert image.size == (32, 32)
