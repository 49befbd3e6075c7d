from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from devit_iot.bundle.spec import BlockSpec, SubVitSpec
from devit_iot.datasets.digits import read_digits
from devit_iot.datasets.source import Sample, decode_source, read_image_folder, write_image_zip
from devit_iot.datasets.sources import open_source
from devit_iot.engine.image import load_image
from devit_iot.errors import DataError

SPEC = SubVitSpec(32, 32, 8, 4, 2, 1, (BlockSpec(1, 4),))


def test_a_tree_and_its_zip_hold_the_same_images(tmp_path: Path) -> None:
    for name in ("cat/1.png", "cat/2.png", "ant/1.png"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 50), (len(name), 0, 9)).save(path)
    (tmp_path / "tree" / "cat" / "notes.txt").write_text("not an image")
    samples = list(read_image_folder(tmp_path / "tree"))
    assert [sample.name for sample in samples] == ["ant/1.png", "cat/1.png", "cat/2.png"]
    write_image_zip(tmp_path / "a.zip", samples)
    write_image_zip(tmp_path / "b.zip", reversed(samples))
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert list(read_image_folder(tmp_path / "a.zip")) == samples
    source = open_source("a.zip", tmp_path, split="test", strict=False)
    decoded = decode_source(source, lambda payload: load_image(payload, SPEC))
    assert decoded.classes == ("ant", "cat")
    assert decoded.labels.tolist() == [0, 1, 1]
    assert decoded.images.shape == (3, 32, 32, 3)


def test_unusable_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no class/image file"):
        list(read_image_folder(tmp_path))
    with pytest.raises(DataError, match="neither a folder nor a zip"):
        list(read_image_folder(tmp_path / "absent"))
    write_image_zip(tmp_path / "bad.zip", [Sample("cat/1.png", b"x")])
    bad = open_source("bad.zip", tmp_path, split="test", strict=False)
    with pytest.raises(DataError, match=r"cat/1\.png: .*repair or remove"):
        decode_source(bad, lambda payload: load_image(payload, SPEC))
    large = tmp_path / "cat" / "large.png"
    large.parent.mkdir()
    with large.open("wb") as file:
        file.truncate(64 * 2**20 + 1)
    with pytest.raises(DataError, match="at most"):
        list(read_image_folder(tmp_path))


def test_the_digits_are_split_once_and_for_all() -> None:
    train, test = list(read_digits(held_out=False)), list(read_digits(held_out=True))
    assert (len(train), len(test)) == (1437, 360)
    assert not {sample.name for sample in train} & {sample.name for sample in test}
    assert not {sample.payload for sample in train} & {sample.payload for sample in test}
    source = open_source("digits", Path(), split="test")
    held_out = decode_source(source, lambda payload: load_image(payload, SPEC))
    assert held_out.classes == tuple("0123456789")
    assert np.bincount(held_out.labels).tolist() == [36] * 10
