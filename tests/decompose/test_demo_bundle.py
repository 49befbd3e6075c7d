"""The bundle that we ship is small, sound and as accurate as we say."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import devit_iot
from devit_iot.bundle import Bundle
from devit_iot.decompose.data import ImageSet, Sample, decode_images, read_image_folder
from devit_iot.decompose.digits import read_digits
from devit_iot.engine.base import load_engine
from devit_iot.engine.fusion import Fusion
from devit_iot.engine.image import load_image

DEMO = Path(devit_iot.__file__).parent / "demo"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle(DEMO / "bundle")


@pytest.fixture(scope="module")
def held_out(bundle: Bundle) -> ImageSet:
    spec = bundle.manifest.parts[0].spec
    return decode_images(
        read_image_folder(DEMO / "digits.zip"), lambda payload: load_image(payload, spec)
    )


@pytest.fixture(scope="module")
def features(bundle: Bundle, held_out: ImageSet) -> list[NDArray[np.float32]]:
    """Per part, float32[360, feature_dim], by the engine that the golden check has passed."""
    engines = [load_engine(bundle, i, name="torch") for i in range(len(bundle.manifest.parts))]
    return [np.stack([engine.features(image) for image in held_out.images]) for engine in engines]


def test_it_is_small_and_complete(bundle: Bundle) -> None:
    bundle.verify()
    assert sum(file.stat().st_size for file in bundle.path.iterdir()) < 2e6
    assert len({part.spec.blocks for part in bundle.manifest.parts}) == len(bundle.manifest.parts)
    classes = [label for part in bundle.manifest.parts for label in part.classes]
    assert sorted(classes) == list(range(10))


def test_its_readme_gives_the_command_that_made_it(bundle: Bundle) -> None:
    assert bundle.manifest.provenance["command"] in (DEMO / "README.md").read_text("utf-8")


@pytest.mark.parametrize(("lost", "wanted"), [(0, 0.97), (1, 0.96), (2, 0.92), (3, 0.75)])
def test_it_is_accurate_even_with_parts_lost(
    bundle: Bundle,
    held_out: ImageSet,
    features: list[NDArray[np.float32]],
    lost: int,
    wanted: float,
) -> None:
    fusion = Fusion(bundle)
    for kept in itertools.combinations(range(len(features)), len(features) - lost):
        logits = [
            fusion.logits({part: features[part][row] for part in kept})
            for row in range(len(held_out.labels))
        ]
        top1 = float((np.argmax(logits, axis=1) == held_out.labels).mean())
        assert top1 >= wanted, f"parts {kept}: {top1:.1%}"


def test_its_images_are_the_held_out_digits(held_out: ImageSet, bundle: Bundle) -> None:
    def pixels(sample: Sample) -> bytes:  # another zlib may compress otherwise
        return load_image(sample.payload, bundle.manifest.parts[0].spec).tobytes()

    train = {pixels(sample) for sample in read_digits(held_out=False)}
    shipped = {image.tobytes() for image in held_out.images}
    assert shipped == {pixels(sample) for sample in read_digits(held_out=True)}
    assert not train & shipped
