"""Rectangles of images that heads look at, as the configuration says."""

from pathlib import Path

import pytest

from devit_iot.config.config import Config, load_config
from devit_iot.config.crops import LookRule
from devit_iot.errors import ConfigError
from devit_iot.protocol.crop import CameraCrops, Crop, CropOrder, CropPlan

HEADS = '[heads]\ndoor = ["gate", "default"]\nyard = ["bird"]\n'
LEFT = "x = 0.0\ny = 0.0\nw = 0.5\nh = 1.0\n"
RIGHT = "x = 0.5\ny = 0.0\nw = 0.5\nh = 1.0\n"


def configured(tmp_path: Path, text: str) -> Config:
    (tmp_path / "fleet.toml").write_text(HEADS + text)
    return load_config([tmp_path / "fleet.toml"], {})


def test_without_a_word_nothing_is_asked_of_the_nodes(tmp_path: Path) -> None:
    assert configured(tmp_path, "").head_choice.plan() == CropPlan()


def test_a_head_looks_at_its_rectangle(tmp_path: Path) -> None:
    choice = configured(tmp_path, f"[crops.door.gate]\n{LEFT}one_in = 5").head_choice
    left = Crop.of(0.0, 0.0, 0.5, 1.0)
    assert (choice.crop("door", "gate"), choice.crop("door", "default")) == (left, None)
    assert choice.plan().of("door") == CameraCrops(crops=(CropOrder(*left, one_in=5),))
    assert choice.plan().of("yard") == choice.plan().of("hall") == CameraCrops()


def test_if_all_heads_have_rectangles_the_whole_image_is_not_computed(tmp_path: Path) -> None:
    text = f"[crops.door.gate]\n{LEFT}one_in = 5\n[crops.door.default]\n{LEFT}one_in = 2"
    found = configured(tmp_path, text).head_choice.plan().of("door")
    assert not found.whole
    assert [order.one_in for order in found.crops] == [2]  # computed once, for both


def test_nodes_are_not_told_of_a_rectangle_that_is_looked_at_at_times(tmp_path: Path) -> None:
    """They compute it of the images that an aggregator sends them, and of no others."""
    text = f"[crops.door.gate]\n{LEFT}interval_s = 60.0\n[crops.door.default]\n{RIGHT}change = 0.1"
    choice = configured(tmp_path, text).head_choice
    assert choice.plan().of("door") == CameraCrops(whole=False)
    left, right = Crop.of(0.0, 0.0, 0.5, 1.0), Crop.of(0.5, 0.0, 0.5, 1.0)
    assert choice.looks("door") == {left: LookRule(60.0, 0.0), right: LookRule(0.0, 0.1)}
    assert choice.looks("hall") == {}
    assert choice.looks_anywhere
    assert not configured(tmp_path, f"[crops.door.gate]\n{LEFT}").head_choice.looks_anywhere


def test_a_star_is_every_camera_that_is_not_named(tmp_path: Path) -> None:
    text = (
        f'[crops."*".bird]\n{LEFT}\n[crops.door]\n[[images]]\ntopic = "c/{{camera}}"\nhead = "bird"'
    )
    choice = configured(tmp_path, text).head_choice
    assert choice.plan().of("hall").crops == choice.plan().of("yard").crops
    assert not choice.plan().of("hall").whole
    assert choice.plan().of("door") == CameraCrops()
    assert choice.crop("hall", "bird") == Crop.of(0.0, 0.0, 0.5, 1.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[crops.door.gate]\nx = 0.5\ny = 0.0\nw = 0.6\nh = 1.0", "is no part of an image"),
        ("[crops.door.gate]\nx = -0.1\ny = 0.0\nw = 0.5\nh = 1.0", "is no part of an image"),
        ("[crops.door.gate]\nx = 0.0\ny = 0.0\nw = 0.001\nh = 1.0", "at least 0.01"),
        ("[crops.door.gate]\nx = nan\ny = 0.0\nw = 0.5\nh = 1.0", "is no part of an image"),
        ("[crops.door.gate]\nx = 0.0\ny = 0.0\nw = 0.5", "missing required field `h`"),
        (f"[crops.door.gate]\n{LEFT}hight = 1.0", "unknown field `hight`"),
        (f"[crops.door.gate]\n{LEFT}one_in = 0", "one_in must be 1"),
        (f"[crops.door.gate]\n{LEFT}interval_s = -1.0", "interval_s must be 0 to 86400"),
        (f"[crops.door.gate]\n{LEFT}interval_s = nan", "interval_s must be 0 to 86400"),
        (f"[crops.door.gate]\n{LEFT}change = 1.0", "change must be 0 to below 1"),
        (f"[crops.door.gate]\n{LEFT}change = nan", "change must be 0 to below 1"),
        (f"[crops.door.gate]\n{LEFT}change = 0.1\none_in = 2", "give one of them"),
        (
            f"[crops.door.gate]\n{LEFT}change = 0.1\n[crops.door.default]\n{LEFT}",
            "'gate' and 'default' of camera 'door' look at the same rectangle",
        ),
        (f"[crops.door.bird]\n{LEFT}", "camera 'door' has no head 'bird'; it has gate, default"),
        ("[crops.door]\ngate = [0, 0, 1, 1]", "Expected `object`"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        configured(tmp_path, text)
