"""Bytes from the wire -> the square that a sub-ViT takes, or ImageError."""

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace
from numpy.typing import NDArray
from PIL import Image

from devit_iot.bundle.spec import CROPPED, WHOLE, Resize, View
from devit_iot.engine import image as image_module
from devit_iot.engine.image import load_image
from devit_iot.errors import ImageError
from tests.support.images import (
    FORMATS,
    SPEC,
    encoded,
    jpeg_that_claims,
    load,
    noise,
    png_that_claims,
    refused,
)


def reference(payload: bytes, view: View = WHOLE, how: Resize = CROPPED) -> NDArray[np.uint8]:
    """Everything decoded, all columns resized, then all rows, then the view of the middle."""
    image = Image.open(io.BytesIO(payload)).convert("RGB")
    crop = SPEC.image_size
    shorts = image.size if how.fit == "squash" else (min(image.size),) * 2
    width, height = (
        round(side * SPEC.resize_size / short)
        for side, short in zip(image.size, shorts, strict=True)
    )
    left = round(((width - crop) // 2 + view.x * crop) / view.width)
    top = round(((height - crop) // 2 + view.y * crop) / view.height)
    width, height = round(width / view.width), round(height / view.height)
    by = Image.Resampling[how.filter.upper()]
    narrow = image.resize((width, image.height), by)
    resized = np.asarray(narrow.resize((width, height), by))
    return resized[top : top + crop, left : left + crop]


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize(
    "size", [(60, 40), (40, 60), (37, 37), (32, 32), (20, 13), (73, 51), (70, 290), (1, 1), (8, 1)]
)
def test_equals_the_full_pipeline(file_format: str, size: tuple[int, int]) -> None:
    payload = encoded(noise(*size), file_format)
    np.testing.assert_array_equal(load(payload), reference(payload))


VIEWS = [
    View(0.0, 0.0, 0.5, 0.5),
    View(0.25, 0.25, 0.75, 0.75),
    View(0.0, 0.5, 1.0, 0.5),
    View(0.3, 0.1, 0.625, 0.8),
    View(0.9375, 0.0, 0.0625, 0.0625),
]


@pytest.mark.parametrize("view", VIEWS, ids=str)
@pytest.mark.parametrize("size", [(60, 40), (40, 60), (37, 37), (151, 480), (640, 480), (9, 7)])
def test_a_view_equals_the_full_pipeline(size: tuple[int, int], view: View) -> None:
    payload = encoded(noise(*size), "PNG")
    found = load_image(payload, replace(SPEC, view=view))
    np.testing.assert_array_equal(found, reference(payload, view))


RESIZES = [Resize("squash"), Resize("crop", "bilinear"), Resize("squash", "bilinear")]


@pytest.mark.parametrize("how", RESIZES, ids=str)
@pytest.mark.parametrize("view", [WHOLE, VIEWS[1], VIEWS[3]], ids=str)
@pytest.mark.parametrize("size", [(60, 40), (37, 37), (151, 480), (9, 7), (1, 1), (900, 20)])
@pytest.mark.parametrize("kernels", ["ours", "Pillow's"])
def test_every_way_of_resizing_equals_the_full_pipeline(
    size: tuple[int, int],
    view: View,
    how: Resize,
    kernels: str,
    request: pytest.FixtureRequest,
) -> None:
    if kernels == "Pillow's":
        request.getfixturevalue("without_kernels")
    payload = encoded(noise(*size), "PNG")
    spec = replace(SPEC, resize=how, view=UNSET if view == WHOLE else view)
    if how.fit == "crop" and max(size) > 8 * min(size):  # its ends are cut off before
        return
    np.testing.assert_array_equal(load_image(payload, spec), reference(payload, view, how))


def test_a_squashed_image_is_what_pillow_alone_makes_of_it() -> None:
    """Without a crop, as ViTImageProcessor of Hugging Face does it."""
    image = noise(151, 480)
    spec = replace(SPEC, resize_size=32, resize=Resize("squash", "bilinear"))
    wanted = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    found = load_image(encoded(image, "PNG"), spec)
    assert np.abs(found - wanted).max() <= 1  # Pillow 13 may take the rows first


def test_a_very_long_image_is_squashed_with_its_ends() -> None:
    image = Image.new("RGB", (20_000, 40), (255, 0, 0))
    image.paste((0, 0, 255), (10_000, 0, 20_000, 40))
    spec = replace(SPEC, resize_size=32, resize=Resize("squash"))
    found = load_image(encoded(image, "PNG"), spec)
    assert (found[:, :14] == (255, 0, 0)).all()
    assert (found[:, 18:] == (0, 0, 255)).all()


@pytest.mark.parametrize("how", RESIZES, ids=str)
@pytest.mark.parametrize("size", [(640, 480), (641, 479), (1601, 593)])
def test_a_reduced_jpeg_is_close_in_every_way_of_resizing(
    size: tuple[int, int], how: Resize
) -> None:
    payload = encoded(noise(*size), "JPEG", quality=95)
    found = load_image(payload, replace(SPEC, resize=how)).astype(float)
    error = np.abs(found - reference(payload, how=how))
    assert error.mean() < 2
    assert error.max() < 24


def test_a_view_shows_its_part_of_the_picture() -> None:
    """Red, green, blue and white quarters: each corner's view is of one colour."""
    colours = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    payload = encoded(Image.fromarray(colours).resize((128, 128), Image.Resampling.NEAREST), "PNG")
    spec = replace(SPEC, resize_size=SPEC.image_size)
    for row in range(2):
        for column in range(2):
            view = View(0.5 * column, 0.5 * row, 0.45, 0.45)
            found = load_image(payload, replace(spec, view=view))
            assert (found[4:-4, 4:-4] == colours[row, column]).all()


def test_a_jpeg_is_reduced_less_for_a_close_view() -> None:
    """The view's pixels come from twice as many in the file, as the whole image's do."""
    payload = encoded(noise(1600, 1600), "JPEG", quality=95)
    close = replace(SPEC, view=View(0.4, 0.4, 0.1, 0.1))
    found = load_image(payload, close).astype(int)
    wanted = reference(payload, close.seen).astype(int)
    assert np.abs(found - wanted).mean() < 2


@pytest.mark.parametrize("size", [(640, 480), (151, 480), (1920, 1080)])
def test_large_lossless_images_equal_the_full_pipeline(size: tuple[int, int]) -> None:
    payload = encoded(noise(*size), "PNG", compress_level=1)
    np.testing.assert_array_equal(load(payload), reference(payload))


@pytest.fixture
def without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devit_iot.engine.image._core", None)


@pytest.mark.usefixtures("without_kernels")
def test_without_our_kernels_a_view_is_the_same() -> None:
    payload, view = encoded(noise(151, 480), "PNG"), View(0.3, 0.1, 0.625, 0.8)
    found = load_image(payload, replace(SPEC, view=view))
    np.testing.assert_array_equal(found, reference(payload, view))


@pytest.mark.usefixtures("without_kernels")
@pytest.mark.parametrize("size", [(60, 40), (20, 13), (1, 1), (151, 480), (641, 479)])
def test_without_our_kernels_the_bytes_are_the_same(size: tuple[int, int]) -> None:
    payload = encoded(noise(*size), "PNG")
    np.testing.assert_array_equal(load(payload), reference(payload))


@pytest.mark.parametrize("size", [(641, 479), (1919, 1080), (30_001, 301)])
def test_with_and_without_our_kernels_a_reduced_jpeg_is_the_same(
    size: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    payload = encoded(noise(*size), "JPEG")
    ours = load(payload)
    request.getfixturevalue("without_kernels")
    np.testing.assert_array_equal(load(payload), ours)


def test_a_picture_in_several_pieces_is_resized_all_the_same() -> None:
    payload = encoded(noise(2100, 2000), "PNG", compress_level=0)  # over 16 MB in Pillow
    np.testing.assert_array_equal(load(payload), reference(payload))


@pytest.mark.parametrize(
    "size", [(640, 480), (480, 640), (1920, 1080), (148, 148), (641, 479), (149, 300), (1601, 593)]
)
def test_a_jpeg_decoded_at_a_reduced_scale_is_close(size: tuple[int, int]) -> None:
    payload = encoded(noise(*size), "JPEG", quality=95)
    error = load(payload).astype(float) - reference(payload)
    assert np.abs(error).mean() < 2
    assert np.abs(error).max() < 24


def test_the_middle_is_kept() -> None:
    image = Image.new("RGB", (300, 100), (255, 0, 0))
    image.paste((0, 255, 0), (100, 0, 200, 100))
    assert (load(encoded(image, "PNG")) == (0, 255, 0)).all()
    upright = image.transpose(Image.Transpose.ROTATE_90)
    assert (load(encoded(upright, "PNG")) == (0, 255, 0)).all()


@pytest.mark.parametrize("size", [(20_000, 2), (2, 20_000), (30_000, 1), (1, 30_000), (4000, 30)])
def test_very_long_images_give_their_middle(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (255, 0, 0))
    width, height = size
    short = min(size)
    box = ((width - 7 * short) // 2, (height - 7 * short) // 2)
    middle = (max(box[0], 0), max(box[1], 0), min(box[0] + 7 * short, width), height)
    if height > width:
        middle = (0, max(box[1], 0), width, min(box[1] + 7 * short, height))
    image.paste((0, 0, 255), middle)
    assert (load(encoded(image, "PNG")) == (0, 0, 255)).all()


def solid(mode: str, colour: Any) -> Image.Image:  # noqa: ANN401 - a number or a tuple
    return Image.new(mode, (50, 40), colour)


def palette(colour: tuple[int, int, int]) -> Image.Image:
    return solid("RGB", colour).quantize(4)


@pytest.mark.parametrize(
    ("image", "file_format", "wanted"),
    [
        (solid("L", 130), "PNG", (130, 130, 130)),
        (solid("L", 130), "JPEG", (130, 130, 130)),
        (solid("1", 1), "PNG", (255, 255, 255)),
        (solid("LA", (130, 77)), "PNG", (130, 130, 130)),
        (solid("RGBA", (10, 200, 30, 128)), "PNG", (10, 200, 30)),
        (palette((10, 200, 30)), "PNG", (10, 200, 30)),
        (solid("CMYK", (0, 0, 0, 0)), "JPEG", (255, 255, 255)),
        (solid("CMYK", (255, 0, 0, 0)), "JPEG", (0, 255, 255)),
        (solid("I;16", 128 * 257), "PNG", (128, 128, 128)),
        (solid("I;16", 300), "PNG", (1, 1, 1)),
    ],
    ids=["L", "L-JPEG", "1", "LA", "RGBA", "P", "CMYK", "CMYK-cyan", "16-bit", "16-bit-dark"],
)
def test_every_kind_of_pixel_becomes_rgb(
    image: Image.Image, file_format: str, wanted: tuple[int, int, int]
) -> None:
    error = load(encoded(image, file_format)).astype(int) - np.array(wanted)
    assert np.abs(error).max() <= 2


def png16(red: int, green: int, blue: int) -> bytes:
    """A 16-bit RGB PNG, which Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    pixels = (b"\0" + struct.pack(">3H", red, green, blue) * 50) * 40
    header = struct.pack(">IIBBBBB", 50, 40, 16, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_sixteen_bit_colour() -> None:
    error = load(png16(10 * 257, 200 * 257, 30 * 257)).astype(int) - np.array([10, 200, 30])
    assert np.abs(error).max() <= 1


def test_an_animation_gives_its_first_frame() -> None:
    later = [solid("RGB", (0, 0, 255))]
    payload = encoded(
        solid("RGB", (0, 255, 0)), "WEBP", save_all=True, append_images=later, lossless=True
    )
    assert (load(payload) == (0, 255, 0)).all()


def test_nothing_is_refused() -> None:
    assert refused(b"") == "empty"


@pytest.mark.parametrize("file_format", ["GIF", "BMP", "TIFF", "PPM", "ICO", "PCX", "TGA"])
def test_other_formats_are_refused(file_format: str) -> None:
    assert refused(encoded(noise(40, 40), file_format)) == "unknown_codec"


@pytest.mark.parametrize(
    "payload",
    [b"\0", b"garbage", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"<svg/>", b"%!PS-Adobe-3.0 EPSF-3.0"],
)
def test_garbage_is_refused(payload: bytes) -> None:
    assert refused(payload) in {"unknown_codec", "damaged"}


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_truncated_image_is_refused(file_format: str, share: float) -> None:
    payload = encoded(noise(200, 200), file_format)
    cut = payload[: int(share * len(payload))]
    assert refused(cut) in {"damaged", "unknown_codec", "incomplete"}


PAYLOADS = [encoded(noise(70, 50), file_format) for file_format in FORMATS]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(PAYLOADS),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 255)), max_size=6),
    st.integers(0, 3000),
)
def test_a_damaged_image_is_decoded_or_refused(
    payload: bytes, flips: list[tuple[int, int]], cut: int
) -> None:
    changed = bytearray(payload)
    for position, mask in flips:
        changed[position % len(changed)] ^= mask
    try:
        load(bytes(changed[: len(changed) - cut % len(changed)]), max_pixels=100_000)
        reason = ""
    except ImageError as error:
        reason = error.reason
    assert reason in {"", "damaged", "unknown_codec", "too_large", "incomplete"}


@pytest.mark.parametrize(
    "payload",
    [
        jpeg_that_claims(17_000, 17_000),
        jpeg_that_claims(65_500, 65_500),
        png_that_claims(13_000, 13_000),
        png_that_claims(2**31 - 1, 2**31 - 1),
    ],
    ids=["jpeg", "jpeg-bomb", "png", "png-bomb"],
)
def test_a_huge_image_is_refused_by_its_header(
    payload: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unexpected(*_: object) -> None:
        raise MemoryError

    assert len(payload) < 2000
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", unexpected)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.draft", unexpected, raising=False)
    assert refused(payload) == "too_large"


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_limit_of_pixels_is_exact(file_format: str) -> None:
    payload = encoded(noise(50, 40), file_format)
    load(payload, max_pixels=2000)
    assert refused(payload, max_pixels=1999) == "too_large"


def test_odd_metadata_is_no_reason_to_refuse() -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    payload = encoded(noise(50, 40), "JPEG", exif=exif.tobytes() + b"\xff" * 9)
    load(payload)


def test_a_jpeg_of_few_pixels_costs_no_filter_of_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = warnings.catch_warnings

    def counted() -> "warnings.catch_warnings[None]":
        asked.append("filter")
        return real()

    monkeypatch.setattr(warnings, "catch_warnings", counted)
    load(encoded(noise(64, 48), "JPEG"))
    assert not asked
    load(encoded(noise(64, 48), "PNG"))
    assert asked == ["filter"]
    monkeypatch.setattr(image_module, "FEW_PIXELS", 64 * 48 - 1)
    load(encoded(noise(64, 48), "JPEG"))
    assert asked == ["filter", "filter"]


def test_pillow_warns_of_no_picture_of_few_pixels() -> None:
    assert Image.MAX_IMAGE_PIXELS is not None
    assert image_module.FEW_PIXELS < Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_a_picture_in_colour_is_not_copied(
    monkeypatch: pytest.MonkeyPatch, file_format: str
) -> None:
    payload = encoded(noise(64, 48), file_format)
    wanted = load(payload)

    def refuse(_image: Image.Image) -> Image.Image:
        raise AssertionError("a picture was copied")

    monkeypatch.setattr(Image.Image, "copy", refuse)
    np.testing.assert_array_equal(load(payload), wanted)
