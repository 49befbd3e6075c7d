"""Pictures of one moment stand on one side of every measure."""

import io

import numpy as np
import pytest
from PIL import Image

from devit_iot.datasets.taken import taken_at
from devit_iot.teach.examples import Examples
from devit_iot.teach.moments import FOLDS, folds, moments

NAN = float("nan")


def examples(
    labels: list[int], taken: list[float], features: list[list[float]] | None = None
) -> Examples:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(len(labels), 8)) if features is None else np.array(features)
    return Examples(
        tuple(f"class-{label}" for label in range(max(labels) + 1)),
        tuple(f"{label}/{place:04d}.png" for place, label in enumerate(labels)),
        np.array(labels),
        np.array(taken),
        (values.astype(np.float32),),
        0,
        (),
        0,
    )


def together(numbers: np.ndarray) -> list[list[int]]:
    return [
        np.flatnonzero(numbers == number).tolist() for number in dict.fromkeys(numbers.tolist())
    ]


def test_a_pause_begins_a_moment() -> None:
    found = moments(examples([0] * 6, [0, 60, 121, 500, 490, 1000]), 60)
    assert together(found) == [[0, 1], [2], [3, 4], [5]]


def test_classes_have_moments_of_their_own() -> None:
    found = moments(examples([0, 1, 0, 1], [0, 1, 2, 3]), 60)
    assert together(found) == [[0, 2], [1, 3]]


def test_pictures_without_a_time_are_together_if_they_are_alike() -> None:
    base, other = [1.0, 0, 0, 0], [0, 1.0, 0, 0]
    features = [base, [1.0, 0.05, 0, 0], other, base]
    found = moments(examples([0] * 4, [NAN] * 4, features), 60)
    assert together(found) == [[0, 1], [2], [3]]  # the last one is no neighbour of the first two


def test_a_picture_with_a_time_is_not_together_with_one_without() -> None:
    found = moments(examples([0] * 3, [0, NAN, 1], [[1.0, 0]] * 3), 60)
    assert together(found) == [[0, 2], [1]]


def test_without_a_gap_every_picture_is_by_itself() -> None:
    assert len(set(moments(examples([0] * 4, [0, 0, 0, NAN], [[1.0, 0]] * 4), 0))) == 4


@pytest.mark.parametrize("seed", range(5))
def test_no_moment_is_torn_and_every_class_is_in_every_fit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([0, 1, 2, 3], [2, 7, 40, 90]))
    groups = np.array([label * 1000 + rng.integers(0, 2 + 9 * label) for label in labels])
    groups[np.flatnonzero(labels == 0)] = [0, 1]  # two moments at the least
    dealt = folds(labels, groups)
    for group in np.unique(groups):
        assert len(set(dealt[groups == group])) == 1
    for fold in range(FOLDS):
        assert set(labels[dealt != fold]) == {0, 1, 2, 3}


def test_folds_are_of_about_equal_size() -> None:
    labels = np.repeat(np.arange(10), 13)
    sizes = np.bincount(folds(labels, np.arange(130)), minlength=FOLDS)
    assert sizes.max() - sizes.min() <= 1


def test_many_pictures_are_dealt_in_no_time_worth_mentioning() -> None:
    labels = np.repeat([0, 1], 50_000)
    assert np.bincount(folds(labels, np.arange(100_000))).tolist() == [20_000] * FOLDS


NOON = 1_777_636_800.0  # 2026-05-01 12:00:00 UTC


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("open/20260501-120000.jpg", NOON),
        ("open/IMG_20260501_120000.jpg", NOON),
        ("open/2026-05-01 12.00.00.png", NOON),
        ("open/2026-05-01T12:00:00.png", NOON),
        ("open/20260501120000-01.jpg", NOON),
        ("open/door-1777636800.25-a1b2c3.jpg", NOON + 0.25),
        ("open/1777636800.jpg", NOON),
        ("open/1777636800125.jpg", NOON + 0.125),
        ("20260101-120000/frame-0001.jpg", None),  # a folder's name dates all pictures in it
        ("open/image_00017.jpg", None),
        ("open/20261345-996199.jpg", None),
        ("open/photo.jpg", None),
        ("open/99991777636800.jpg", None),
    ],
)
def test_a_name_may_say_when(name: str, at: float | None) -> None:
    assert taken_at(name, b"") == at


def jpeg_taken(text: str) -> bytes:
    image = Image.new("RGB", (8, 8))
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = text
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def test_exif_may_say_when_and_a_name_goes_first() -> None:
    payload = jpeg_taken("2026:05:01 12:00:00")
    assert taken_at("open/photo.jpg", payload) == NOON
    assert taken_at("open/20260501-120001.jpg", payload) == NOON + 1


@pytest.mark.parametrize("text", ["", "yesterday", "2026:13:01 12:00:00", "0000:00:00 00:00:00"])
def test_exif_that_is_no_time_says_nothing(text: str) -> None:
    assert taken_at("open/photo.jpg", jpeg_taken(text)) is None
    assert taken_at("open/photo.jpg", jpeg_taken("2026:05:01 12:00:00")[:40]) is None
