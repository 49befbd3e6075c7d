"""How images become squares, read from the files that stand beside weights."""

from typing import Any

import msgspec
import pytest

from devit_iot.bundle.spec import Filter, Fit, Resize
from devit_iot.export.prepared import Prepared, chosen, of_hugging_face, of_timm


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"crop_pct": 0.9}, (248, "crop", "bicubic")),
        ({"crop_pct": 0.875, "interpolation": "bilinear"}, (256, "crop", "bilinear")),
        ({"crop_pct": 1.0, "crop_mode": "squash"}, (224, "squash", "bicubic")),
        ({"crop_pct": 0.95, "crop_mode": "center"}, (235, "crop", "bicubic")),
        ({"crop_pct": 7, "crop_mode": "center"}, (None, "crop", "bicubic")),
        ({}, (None, "crop", "bicubic")),
    ],
)
def test_timms_configuration(
    config: dict[str, Any], wanted: tuple[int | None, Fit, Filter]
) -> None:
    assert of_timm(config, 224) == Prepared(*wanted)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"crop_mode": "border"}, "crop mode 'border'"),
        ({"crop_mode": "of the future"}, "crop mode 'of the future'"),
        ({"interpolation": "random"}, "resized by 'random'"),
        ({"interpolation": "lanczos"}, "resized by 'lanczos'"),
    ],
)
def test_what_cannot_be_followed_of_timms_is_said(config: dict[str, Any], message: str) -> None:
    (note,) = of_timm(config, 224).notes
    assert note.startswith("NOT FOLLOWED: ")
    assert message in note


VIT = {"image_processor_type": "ViTImageProcessor"}
DEIT = {"feature_extractor_type": "DeiTFeatureExtractor", "do_center_crop": True, "crop_size": 224}


@pytest.mark.parametrize(
    ("processor", "wanted"),
    [
        ({**VIT, "size": {"height": 224, "width": 224}}, (224, "squash", "bilinear")),
        ({**VIT, "size": 224, "resample": 3}, (224, "squash", "bicubic")),
        ({"size": [224, 224], "resample": 2}, (224, "squash", "bilinear")),
        ({**DEIT, "size": 256}, (256, "squash", "bicubic")),
        ({"image_processor_type": "ViTImageProcessorFast", "size": 224},
         (224, "squash", "bilinear")),
        ({"image_processor_type": "CLIPImageProcessor", "size": 224, "do_center_crop": True},
         (224, "crop", "bicubic")),
        ({"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 256},
          "do_center_crop": True, "crop_size": {"height": 224, "width": 224}},
         (256, "crop", "bicubic")),
        ({**VIT, "resample": 2}, (None, None, "bilinear")),
        ({}, (None, None, None)),
    ],
)  # fmt: skip
def test_hugging_faces_processor(
    processor: dict[str, Any], wanted: tuple[int | None, Fit | None, Filter | None]
) -> None:
    assert of_hugging_face(processor, 224) == Prepared(*wanted)


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        ({"do_resize": False}, "resizes no image"),
        ({"size": {"height": 224, "width": 448}}, "resizes to {'height': 224, 'width': 448}"),
        ({"size": {"shortest_edge": 224, "longest_edge": 600}}, "'longest_edge': 600"),
        ({"size": 224, "resample": 1}, "resized by 'lanczos'"),
        ({"size": 224, "resample": 99}, "resized by '99'"),
        ({"size": 224, "resample": [2]}, "resized by '[2]'"),
        ({"size": 256}, "gives squares of 256 pixels, the network takes 224"),
        ({"size": 256, "do_center_crop": True, "crop_size": 240}, "squares of 240 pixels"),
    ],
)
def test_what_cannot_be_followed_of_hugging_faces_is_said(
    processor: dict[str, Any], message: str
) -> None:
    (note,) = of_hugging_face(processor, 224).notes
    assert note.startswith("NOT FOLLOWED: ")
    assert message in note


def test_what_is_asked_for_wins_and_the_usual_is_left_out() -> None:
    told = Prepared(256, "squash", "bilinear")
    assert chosen(224, Prepared(), told) == (256, Resize("squash", "bilinear"))
    assert chosen(224, Prepared(230, None, "bicubic"), told) == (230, Resize("squash", "bicubic"))
    assert chosen(224, Prepared(None, "crop", "bicubic"), told) == (256, msgspec.UNSET)
    assert chosen(224, Prepared(), Prepared()) == (256, msgspec.UNSET)
    assert chosen(224, Prepared(fit="squash"), Prepared()) == (224, Resize("squash"))
