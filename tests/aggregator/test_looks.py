"""When a rectangle is looked at: at most once in an interval, when it changed, or both."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from devit_iot.aggregator.looks import MAX_REMEMBERED, Looks
from devit_iot.config.crops import LookRule
from devit_iot.engine.brightness import FIELDS, brightness, difference
from devit_iot.errors import ImageError
from devit_iot.protocol.crop import Crop

LEFT = Crop.of(0, 0, 0.5, 1)
GREY = np.full((FIELDS, FIELDS), 0.5, np.float32)


def with_field(value: float) -> NDArray[np.float32]:
    fields = GREY.copy()
    fields[2, 3] = value
    return fields


def judged(looks: Looks, rule: LookRule, now: float, fields: NDArray[np.float32] = GREY) -> bool:
    return looks.judge("door", LEFT, rule, now, lambda _: fields)


def test_at_most_once_in_an_interval() -> None:
    looks, rule = Looks(), LookRule(10.0, 0.0)
    found = [at for at in range(35) if judged(looks, rule, at)]
    assert found == [0, 10, 20, 30]


def test_without_a_change_nothing_is_compared() -> None:
    def unused(_: Crop) -> NDArray[np.float32]:
        raise AssertionError("decoded for nothing")

    assert Looks().judge("door", LEFT, LookRule(1.0, 0.0), 0.0, unused)


def test_what_is_compared_is_the_one_that_was_looked_at_last() -> None:
    """A slow change adds up; the image before would never differ enough."""
    looks, rule = Looks(), LookRule(0.0, 0.1)
    found = [n for n in range(12) if judged(looks, rule, n, with_field(0.5 + 0.03 * n))]
    assert found == [0, 4, 8]


def test_both_are_an_interval_and_a_change() -> None:
    looks, rule = Looks(), LookRule(10.0, 0.1)
    assert judged(looks, rule, 0)
    assert not judged(looks, rule, 5, with_field(0.9))
    assert not judged(looks, rule, 11)
    assert judged(looks, rule, 12, with_field(0.9))
    assert not judged(looks, rule, 20, with_field(0.1))


def test_a_picture_that_cannot_be_read_changes_nothing() -> None:
    def damaged(_: Crop) -> NDArray[np.float32]:
        raise ImageError("damaged", "no picture")

    looks, rule = Looks(), LookRule(0.0, 0.1)
    with pytest.raises(ImageError):
        looks.judge("door", LEFT, rule, 0.0, damaged)
    assert judged(looks, rule, 1.0)
    assert not judged(looks, rule, 2.0)


def test_cameras_and_rectangles_are_apart_and_few_are_remembered() -> None:
    looks, rule = Looks(), LookRule(1000.0, 0.0)
    for number in range(MAX_REMEMBERED + 1):
        assert looks.judge(f"camera-{number}", LEFT, rule, 0.0, lambda _: GREY)
    right = Crop.of(0.5, 0, 0.5, 1)
    assert looks.judge(f"camera-{MAX_REMEMBERED}", right, rule, 0.0, lambda _: GREY)
    assert not looks.judge(f"camera-{MAX_REMEMBERED}", LEFT, rule, 0.0, lambda _: GREY)
    assert looks.judge("camera-0", LEFT, rule, 0.0, lambda _: GREY)


def jpeg(pixels: NDArray[np.uint8], quality: int = 90) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()


def yard() -> NDArray[np.uint8]:
    rng = np.random.default_rng(17)
    blocks = rng.integers(40, 180, (12, 16, 3))
    return blocks.repeat(40, axis=0).repeat(40, axis=1).astype(np.uint8)


def test_noise_and_light_differ_less_than_a_thing_that_covers_a_field() -> None:
    picture, rng = yard(), np.random.default_rng(1)
    noisy = np.clip(picture + rng.normal(0, 8, picture.shape), 0, 255).astype(np.uint8)
    lighter = np.clip(picture.astype(np.int64) + 30, 0, 255).astype(np.uint8)
    thing = picture.copy()
    thing[200:260, 60:100] = 250
    before = brightness(jpeg(picture), crop=LEFT)
    assert difference(brightness(jpeg(noisy, 60), crop=LEFT), before) < 0.02
    assert difference(brightness(jpeg(lighter), crop=LEFT), before) < 0.02
    assert difference(brightness(jpeg(thing), crop=LEFT), before) > 0.1
    elsewhere = picture.copy()
    elsewhere[:, 330:] = 0
    assert difference(brightness(jpeg(elsewhere), crop=LEFT), before) < 0.02
