"""A head that was taught on a rectangle looks at it: taught, measured, and in a fleet."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from devit_iot.aggregator.fusions import Fusions
from devit_iot.aggregator.heads import CameraHeads
from devit_iot.bundle.head import read_head
from devit_iot.bundle.reading import Bundle
from devit_iot.config.config import Config
from devit_iot.config.crops import CropConfig
from devit_iot.errors import BundleError
from devit_iot.evaluation.local import LocalFleet
from devit_iot.protocol.crop import CameraCrops, Crop, CropOrder
from tests.teach.pictures import COLOURS, run, teach

CORNER = Crop.of(0.75, 0.75, 0.125, 0.125)
CROP = ("--crop", "0.75,0.75,0.125,0.125")


def yard(kind: str, seed: int) -> bytes:
    """Noise, the same for every class, in which a small corner has the colour of the class."""
    rng = np.random.default_rng((seed, *kind.encode()))
    pixels = rng.integers(0, 256, (128, 160, 3), np.uint8)
    pixels[96:112, 120:140] = COLOURS[kind]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "photos"
    for kind in ("closed", "open"):
        (path / kind).mkdir(parents=True)
        for index in range(10):
            (path / kind / f"yard-{1_777_600_000 + 3600 * index}.png").write_bytes(
                yard(kind, index)
            )
    return path


def test_a_head_keeps_the_rectangle_that_it_was_taught_on(fleet: Bundle, data: Path) -> None:
    result = json.loads(teach(fleet, data, "--json", *CROP).stdout)
    assert result["top1"] == 1.0
    assert read_head(fleet, "gate").crop == CORNER
    whole = json.loads(teach(fleet, data, "--json", name="whole").stdout)
    assert whole["computed"] == result["computed"] == 20  # none is taken from the other's cache
    assert read_head(fleet, "whole").crop is None
    assert json.loads(teach(fleet, data, "--json", *CROP).stdout)["computed"] == 0
    gate = LocalFleet(fleet, threads=1, head="gate")
    assert gate.crop == CORNER
    assert [gate.classify(yard(kind, 99))[0].label for kind in COLOURS if kind != "ajar"] == [
        "closed",
        "open",
    ]


def test_the_aggregator_takes_it_from_the_head(fleet: Bundle, data: Path) -> None:
    assert teach(fleet, data, *CROP).exit_code == 0
    heads: dict[str, tuple[str, ...]] = {"yard": ("gate", "default")}
    taught = CameraHeads(fleet, Config(heads=heads).head_choice)
    assert taught.plan.of("yard") == CameraCrops(crops=(CropOrder(*CORNER),))
    assert taught.plan.of("hall") == CameraCrops()
    assert [fusion.head for fusion in taught.looking_at("yard", CORNER)] == ["gate"]
    assert [fusion.head for fusion in taught.looking_at("yard", None)] == ["default"]
    assert Fusions((taught,)).plan() == taught.plan
    assert Fusions().plan() is None
    left = Config(heads=heads, crops={"yard": {"gate": CropConfig(0, 0, 0.5, 1)}})
    said = CameraHeads(fleet, left.head_choice)
    assert [order.crop for order in said.plan.of("yard").crops] == [Crop.of(0, 0, 0.5, 1)]


@pytest.mark.parametrize(
    "text", ["0.5,0.5,0.6,0.1", "0,0,1", "a,b,c,d", "0,0,0,1", "nan,0,1,1", ""]
)
def test_what_is_no_rectangle_is_one_line(fleet: Bundle, data: Path, text: str) -> None:
    said = run("teach", fleet.path, "--data", data, "--name", "gate", "--crop", text)
    assert said.exit_code == 2
    assert "is no x,y,w,h, for instance 0.5,0.25,0.2,0.3" in " ".join(said.stderr.split())


@pytest.mark.parametrize("crop", [[0, 0, 0, 9], [0, 0, 70000, 9], [65535, 0, 1, 1], [1, 2, 3]])
def test_a_head_with_a_rectangle_that_cannot_be_is_refused(
    fleet: Bundle, data: Path, crop: list[int]
) -> None:
    teach(fleet, data, *CROP)
    (path,) = (fleet.path / "heads/gate").glob("*/head.json")
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"crop": crop}))
    with pytest.raises(BundleError):
        read_head(fleet, "gate")
