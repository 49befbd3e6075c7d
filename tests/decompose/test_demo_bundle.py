"""The bundle that we ship is small, sound and as accurate as we say."""

import re
from pathlib import Path

import numpy as np
import pytest

import devit_iot
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import macs
from devit_iot.datasets.source import ImageSet, Sample, decode_source, read_image_folder
from devit_iot.datasets.sources import open_source
from devit_iot.engine.base import load_engine
from devit_iot.engine.image import load_image
from devit_iot.evaluation.lost_parts import Fused

DEMO = Path(devit_iot.__file__).parent / "demo"
CIFAR100 = Path(__file__).parents[3] / "shared/data/cifar100"
TEACHER_MACS = 142_055_424


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle(DEMO / "bundle")


@pytest.fixture(scope="module")
def shipped(bundle: Bundle) -> ImageSet:
    spec = bundle.manifest.parts[0].spec
    source = open_source(str(DEMO / "images.zip"), Path(), split="test", strict=False)
    return decode_source(source, lambda payload: load_image(payload, spec))


@pytest.fixture(scope="module")
def fused(bundle: Bundle, shipped: ImageSet) -> Fused:
    """The shipped images' logits, by engines that the golden check has passed."""
    features = []
    for index, part in enumerate(bundle.manifest.parts):
        engine = load_engine(bundle.read_part(index), name="torch")
        seen = [
            load_image(sample.payload, part.spec)
            for sample in read_image_folder(DEMO / "images.zip")
        ]
        features.append(np.stack([engine.features(image) for image in seen]))
    return Fused(features, bundle.fusion_tensors(), shipped.labels)


def test_it_is_small_and_complete(bundle: Bundle) -> None:
    bundle.verify()
    assert sum(file.stat().st_size for file in bundle.path.iterdir()) < 12e6
    classes = [label for part in bundle.manifest.parts for label in part.classes]
    assert sorted(classes) == list(range(100))
    for part in bundle.manifest.parts:
        assert macs(part.spec) <= 0.3 * TEACHER_MACS


def test_its_readme_gives_the_command_that_made_it(bundle: Bundle) -> None:
    readme = re.sub(r"\\\n\s*", "", (DEMO / "README.md").read_text("utf-8"))
    recipe = bundle.manifest.provenance["command"].split()[3]
    assert f"decompose run {recipe}" in readme


@pytest.mark.parametrize(("lost", "wanted"), [(0, 0.75), (1, 0.72), (2, 0.64), (3, 0.52)])
def test_it_is_accurate_even_with_parts_lost(fused: Fused, lost: int, wanted: float) -> None:
    """A hundred images tell little: the bounds are loose, docs/results.md has the figures."""
    assert fused.lose(lost).mean >= wanted


def test_its_images_are_test_images_of_cifar100(shipped: ImageSet, bundle: Bundle) -> None:
    """A hundred, one of each class; none of them is a training image."""
    assert shipped.classes == tuple(sorted(bundle.manifest.classes))
    assert np.bincount(shipped.labels).tolist() == [1] * 100
    if not CIFAR100.is_dir():
        pytest.skip(f"{CIFAR100} is not there: cannot compare with CIFAR-100 itself")

    def pixels(sample: Sample) -> bytes:
        return load_image(sample.payload, bundle.manifest.parts[0].spec).tobytes()

    ours = {sample.name: pixels(sample) for sample in read_image_folder(DEMO / "images.zip")}
    test = open_source(str(CIFAR100), Path(), split="test")
    index = {name: row for row, name in enumerate(test.names)}
    assert all(pixels(test.sample(index[name])) == image for name, image in ours.items())
    train = open_source(str(CIFAR100), Path(), split="train")
    assert not set(ours.values()) & {pixels(train.sample(row)) for row in range(0, len(train), 25)}
