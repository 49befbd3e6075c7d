"""Real DeiT-Tiny weights on 200 real photographs, against logits that we did not compute."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from devit_iot.bundle.reading import Bundle
from devit_iot.cli.bundle import bundle as command
from devit_iot.engine.base import load_engine
from devit_iot.engine.fusion import Fusion
from devit_iot.engine.image import load_image

DATA = Path(os.environ.get("DEVIT_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
WEIGHTS = DATA / "deit-tiny" / "deit_tiny_patch16_224.safetensors"

pytestmark = pytest.mark.skipif(
    not WEIGHTS.is_file(),
    reason=f"NOT TESTED on real weights: {WEIGHTS} is missing; set DEVIT_TEST_DATA",
)


def rows(name: str) -> list[dict[str, str]]:
    with (DATA / "imagenet-samples" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def preprocess(path: Path, *, columns_first: bool = False) -> NDArray[np.uint8]:
    """What the reference did: Pillow, bicubic to a short side of 256, the 224 in the centre.

    Pillow resizes a very tall picture's rows first, which rounds otherwise; ours never does.
    """
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    scale = 256 / min(rgb.size)
    width, height = round(rgb.width * scale), round(rgb.height * scale)
    if columns_first:
        rgb = rgb.resize((width, rgb.height), Image.Resampling.BICUBIC)
    resized = rgb.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - 224) // 2, (height - 224) // 2
    return np.array(resized.crop((left, top, left + 224, top + 224)))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("deit-tiny")
    names = folder / "names.txt"
    names.write_text("".join(f"{row['name']}\n" for row in rows("imagenet1k_classes.csv")))
    arguments = [str(WEIGHTS), "--classes", str(names), "--output", str(folder / "bundle")]
    result = CliRunner().invoke(command, ["import", *arguments])
    assert result.exit_code == 0, result.output
    return Bundle(folder / "bundle")


def test_the_shape_is_read_off_the_weights(bundle: Bundle) -> None:
    spec = bundle.manifest.parts[0].spec
    assert (spec.image_size, spec.resize_size, spec.patch_size) == (224, 256, 16)
    assert (spec.embed_dim, spec.head_dim, spec.prefix_tokens) == (192, 64, 1)
    assert [(block.heads, block.mlp_dim) for block in spec.blocks] == [(3, 768)] * 12


@pytest.mark.parametrize(("engine", "count"), [("native", 200), ("torch", 20)])
def test_200_photographs_give_the_reference_logits(bundle: Bundle, engine: str, count: int) -> None:
    reference = np.load(DATA / "deit-tiny" / "reference_logits.npz")
    spec = bundle.manifest.parts[0].spec
    loaded, fusion = load_engine(bundle.read_part(0), name=engine), Fusion(bundle)
    correct = 0
    samples = list(zip(rows("labels.csv"), reference["logits"], strict=True))[:count]
    for row, wanted in samples:
        path = DATA / "imagenet-samples" / "jpeg" / row["file"]
        pixels = preprocess(path)
        logits = fusion.logits({0: loaded.features(pixels)})
        np.testing.assert_allclose(logits, wanted, rtol=0, atol=5e-4)
        assert logits.argmax() == wanted.argmax()
        correct += int(logits.argmax() == int(row["class_index"]))
        pixels = load_image(path.read_bytes(), spec)
        np.testing.assert_array_equal(pixels, preprocess(path, columns_first=True))
    if count == len(reference["logits"]):
        assert correct / count == 0.805
