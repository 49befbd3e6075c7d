"""CIFAR in every published form, built small; hostile and damaged files; the real sets."""

import hashlib
import io
import os
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from devit_iot.bundle.spec import BlockSpec, SubVitSpec
from devit_iot.datasets.cifar import _KNOWN
from devit_iot.datasets.pixels import encode_png
from devit_iot.datasets.source import ImageSource, decode_source
from devit_iot.datasets.sources import open_source
from devit_iot.engine.image import load_image
from devit_iot.errors import DataError

DATA = Path(os.environ.get("DEVIT_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
SPEC = SubVitSpec(32, 32, 8, 4, 2, 1, (BlockSpec(1, 4),))
NAMES = ("apple", "bowl", "cloud")
FINE = {"train": [2, 0, 1, 2, 0], "test": [1, 2, 0]}
U8 = NDArray[np.uint8]


def decode(payload: bytes) -> U8:
    return load_image(payload, SPEC)


def planes(split: str) -> U8:
    """uint8[count, 3072], R, G and B planes."""
    return np.random.default_rng(len(split)).integers(0, 256, (len(FINE[split]), 3072), np.uint8)


def python2_pickle(data: U8, labels: list[int], key: bytes = b"fine_labels") -> bytes:
    """What Python 2 and its numpy wrote: byte strings, and numpy's old module names."""
    raw = data.tobytes()
    return (
        b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b"
        b"\x87R(K\x01K" + bytes([len(data)]) + b"M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + struct.pack("<I", len(raw))
        + raw
        + b"tbU"
        + bytes([len(key)])
        + key
        + b"]("
        + b"".join(b"K" + bytes([label]) for label in labels)
        + b"eu."
    )


def python3_pickle(data: U8, labels: list[int], key: bytes = b"fine_labels") -> bytes:
    return pickle.dumps({"data": data, key.decode(): labels}, protocol=2)


def python_files(
    write: Callable[[U8, list[int]], bytes] = python2_pickle,
) -> dict[str, bytes]:
    files = {split: write(planes(split), FINE[split]) for split in FINE}
    return files | {"meta": pickle.dumps({"fine_label_names": list(NAMES)}, protocol=2)}


def binary_files() -> dict[str, bytes]:
    files = {}
    for split, fine in FINE.items():
        labels = np.array([[7, label] for label in fine], np.uint8)
        files[f"{split}.bin"] = np.concatenate([labels, planes(split)], axis=1).tobytes()
    return files | {"fine_label_names.txt": "\n".join(NAMES).encode() + b"\n"}


def cifar10_files() -> dict[str, bytes]:
    data, labels = planes("train"), FINE["train"]
    files = {
        f"data_batch_{i + 1}": python2_pickle(data[i : i + 1], [labels[i]], b"labels")
        for i in range(5)
    }
    files["test_batch"] = python3_pickle(planes("test"), FINE["test"], b"labels")
    return files | {"batches.meta": pickle.dumps({"label_names": list(NAMES)}, protocol=2)}


def cifar10_binary_files() -> dict[str, bytes]:
    records = np.concatenate([np.array(FINE["train"], np.uint8)[:, None], planes("train")], axis=1)
    files = {f"data_batch_{i + 1}.bin": records[i].tobytes() for i in range(5)}
    test = np.concatenate([np.array(FINE["test"], np.uint8)[:, None], planes("test")], axis=1)
    return files | {"test_batch.bin": test.tobytes(), "batches.meta.txt": b"apple\nbowl\ncloud\n\n"}


def extract(root: Path, files: dict[str, bytes]) -> str:
    (root / "cifar").mkdir()
    for name, content in files.items():
        (root / "cifar" / name).write_bytes(content)
    return "cifar"


def archive(root: Path, files: dict[str, bytes]) -> str:
    with tarfile.open(root / "cifar.tar.gz", "w:gz") as packed:
        for name, content in {**files, "file.txt~": b""}.items():
            info = tarfile.TarInfo(f"cifar-python/{name}")
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return "cifar.tar.gz"


VERSIONS = {
    "python 2": python_files(),
    "python 3": python_files(python3_pickle),
    "binary": binary_files(),
    "cifar10": cifar10_files(),
    "cifar10 binary": cifar10_binary_files(),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("store", [extract, archive])
def test_every_version_gives_the_same_images(
    tmp_path: Path, store: Callable[[Path, dict[str, bytes]], str], version: str
) -> None:
    name = store(tmp_path, VERSIONS[version])
    for split, fine in FINE.items():
        source = open_source(name, tmp_path, split=split)
        assert source.classes == NAMES
        assert source.labels.tolist() == fine
        assert source.labels.dtype == np.int64
        assert source.names[1] == f"{NAMES[fine[1]]}/{split}-00001.png"
        pixels = planes(split).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        np.testing.assert_array_equal(decode_source(source, decode).images, pixels)


def test_the_png_holds_the_very_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 300, 3), np.uint8)
    with Image.open(io.BytesIO(encode_png(pixels))) as image:
        image.verify()
    with Image.open(io.BytesIO(encode_png(pixels))) as image:
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), pixels)


class Hostile:
    """Leaves a file when it is unpickled."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("file", ["train", "meta"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_hostile_pickle_runs_nothing(tmp_path: Path, file: str, protocol: int) -> None:
    trace = tmp_path / "trace"
    calls = [
        Hostile(os.system, f"touch {trace}"),
        Hostile(eval, f"open({str(trace)!r}, 'w')"),
        Hostile(os.mkdir, str(trace)),
    ]
    for number, call in enumerate(calls):
        content = pickle.dumps({"data": call, "fine_label_names": call}, protocol=protocol)
        root = tmp_path / str(number)
        root.mkdir()
        name = extract(root, python_files() | {file: content})
        with pytest.raises(DataError, match=f"{file} of .*could run code; nothing was run"):
            open_source(name, root, split="train")
        assert not trace.exists()


@pytest.mark.parametrize(
    "name", [b"_codecs\nencode", b"numpy\ndtype", b"numpy\nndarray", b"numpy\nload"]
)
def test_a_pickle_sets_no_attribute(tmp_path: Path, name: bytes) -> None:
    content = b"\x80\x02c" + name + b"\nN}U\x08__name__U\x01xs\x86b."  # BUILD with slot state
    data = extract(tmp_path, python_files() | {"train": content})
    with pytest.raises(DataError, match=r"train of .*(truncated or damaged|could run code)"):
        open_source(data, tmp_path, split="train")
    assert {known.__name__ for known in _KNOWN.values()} == {"_Array", "_DType", "_Latin1"}


@pytest.mark.parametrize(
    "array",
    [
        np.array([None, 1], object),
        np.zeros((5, 3072), np.float64),
        np.zeros((4, 3072), np.uint8),
        np.zeros((5, 3071), np.uint8),
        np.zeros((3072, 5), np.uint8).T,
        np.zeros(3072, np.uint8),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_other_arrays_are_refused(tmp_path: Path, array: NDArray[np.generic]) -> None:
    content = pickle.dumps({"data": array, "fine_labels": FINE["train"]}, protocol=2)
    name = extract(tmp_path, python_files() | {"train": content})
    with pytest.raises(DataError, match=r"train of .*truncated or damaged"):
        open_source(name, tmp_path, split="train")


BINARY, PYTHON = binary_files(), python_files()
DAMAGED: list[tuple[dict[str, bytes], str]] = [
    (PYTHON | {"train": PYTHON["train"][:9000]}, "train of .*truncated or damaged"),
    (PYTHON | {"train": b""}, "train of .*truncated or damaged"),
    (PYTHON | {"meta": b"\x80\x02}."}, "meta of .*no list of class names"),
    (PYTHON | {"train": b"\x80\x02]."}, "train of .*no dictionary"),
    (
        PYTHON | {"train": python2_pickle(planes("train"), [0, 1, 2])},
        "3 labels for 5 images",
    ),
    (
        PYTHON | {"train": python2_pickle(planes("train"), [0, 1, 2, 3, 0])},
        "label 3, but there are 3 classes",
    ),
    (
        PYTHON | {"train": python2_pickle(planes("train"), [0, 1, 1, 1, 0])},
        "class 'cloud' of .* has no image in the train split",
    ),
    (BINARY | {"train.bin": BINARY["train.bin"][:-1]}, "train.bin of .*no multiple of 3074"),
    (BINARY | {"train.bin": b""}, "train.bin of .*truncated"),
    (BINARY | {"fine_label_names.txt": b"apple\n"}, "but there are 1 classes"),
    (
        {name: content for name, content in VERSIONS["cifar10"].items() if name != "data_batch_3"},
        "lacks the file 'data_batch_3'",
    ),
]


@pytest.mark.parametrize(("files", "message"), DAMAGED, ids=[message for _, message in DAMAGED])
def test_damaged_files_are_named(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_source(extract(tmp_path, files), tmp_path, split="train")
    assert "\n" not in str(caught.value)


def test_a_truncated_archive_is_named(tmp_path: Path) -> None:
    file = tmp_path / archive(tmp_path, python_files())
    file.write_bytes(file.read_bytes()[:20000])
    with pytest.raises(DataError, match=r"cifar\.tar\.gz is truncated or damaged"):
        open_source("cifar.tar.gz", tmp_path, split="train")


def mosaics(root: Path) -> U8:
    """A data set of one mosaic a split; returns the training images."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (1000, 32, 32, 3), np.uint8)
    for split in ("train", "test"):
        grid = images.reshape(25, 40, 32, 32, 3).transpose(0, 2, 1, 3, 4).reshape(800, 1280, 3)
        Image.fromarray(grid).save(root / f"{split}-00.webp", lossless=True, method=0)
    labels = np.arange(1000, dtype=np.uint8) % 3
    np.savez(root / "labels.npz", train_fine=labels, test_fine=labels[::-1])
    (root / "fine_names.txt").write_text("\n".join(NAMES) + "\n")
    return images


def test_mosaics(tmp_path: Path) -> None:
    images = mosaics(tmp_path)
    source = open_source(str(tmp_path), Path(), split="train")
    assert source.classes == NAMES
    assert source.labels[:4].tolist() == [0, 1, 2, 0]
    assert source.names[999] == "apple/train-00999.png"
    np.testing.assert_array_equal(decode_source(source, decode).images, images)
    file = tmp_path / "train-00.webp"
    whole = file.read_bytes()
    for content, message in (
        (whole[:100_000], r"train-00\.webp of .* is damaged"),
        (b"", r"train-00\.webp of .* is damaged"),
        (small_webp(), r"train-00\.webp of .* has \(64, 64\) pixels"),
    ):
        file.write_bytes(content)
        with pytest.raises(DataError, match=message):
            open_source(str(tmp_path), Path(), split="train")
    file.unlink()
    with pytest.raises(DataError, match=r"lacks the mosaic train-00\.webp"):
        open_source(str(tmp_path), Path(), split="train")
    (tmp_path / "test-01.webp").write_bytes(whole)
    with pytest.raises(DataError, match="1000 labels for 2 test mosaics"):
        open_source(str(tmp_path), Path(), split="test")
    (tmp_path / "labels.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"labels\.npz of .* is damaged"):
        open_source(str(tmp_path), Path(), split="test")


def small_webp() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "webp", lossless=True)
    return buffer.getvalue()


def real(name: str, split: str) -> ImageSource:
    if not (DATA / name).is_dir():
        pytest.skip(f"NOT TESTED ON REAL DATA: {DATA / name} is absent; set DEVIT_TEST_DATA")
    return open_source(name, DATA, split=split)


@pytest.mark.parametrize(
    ("split", "count", "first", "sha1"),
    [
        ("train", 50000, [19, 29, 0, 11, 1], "e207cd2e05b73b1393c74c7f5e7bea451d63e08e"),
        ("test", 10000, [49, 33, 72, 51, 71], "8fb6623e830365ff53cf14adec797474f5478006"),
    ],
)
def test_the_real_cifar100_is_bit_exact(
    split: str, count: int, first: list[int], sha1: str
) -> None:
    source = real("cifar100", split)
    assert len(source) == count
    assert source.labels[:5].tolist() == first
    assert set(np.bincount(source.labels)) == {count // 100}
    with np.load(DATA / "cifar100" / "labels.npz") as stored:
        coarse = stored[f"{split}_coarse"]
    images = decode_source(source, decode).images
    records = np.empty((count, 2 + 3072), np.uint8)
    records[:, 0], records[:, 1] = coarse, source.labels
    records[:, 2:] = images.transpose(0, 3, 1, 2).reshape(count, 3072)
    assert hashlib.sha1(records.tobytes(), usedforsecurity=False).hexdigest() == sha1


def test_the_official_meta_is_read(tmp_path: Path) -> None:
    names = real("cifar100", "test").classes
    meta = (DATA / "cifar100" / "meta").read_bytes()
    folder = extract(tmp_path, python_files() | {"meta": meta})
    assert open_source(folder, tmp_path, split="test", strict=False).classes == names


@pytest.mark.parametrize(("split", "count"), [("train", 1434), ("test", 1068)])
def test_the_real_flowers(split: str, count: int) -> None:
    source = real("flowers102-sub", split)
    assert len(source) == count
    assert len(source.classes) == 89
    rows = (DATA / "flowers102-sub" / "labels.csv").read_text().splitlines()[1:]
    official = (DATA / "flowers102-sub" / "class_names.txt").read_text().splitlines()
    wanted = {
        file: official[int(index)]
        for part, file, index, *_ in (row.split(",") for row in rows)
        if part == split
    }
    found = {
        name: source.classes[label] for name, label in zip(source.names, source.labels, strict=True)
    }
    assert found == wanted
    assert decode(source.sample(count - 1).payload).shape == (32, 32, 3)
