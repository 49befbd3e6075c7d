"""What a file may cost: whatever it says, its pixels and bytes bound time and memory."""

import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from devit_iot.engine.image_file import MAX_PIECES, MAX_SCANS, jpeg_pieces, without_metadata
from devit_iot.errors import ImageError
from tests.support.bombs import (
    after_start,
    black,
    chunk,
    groups_webp,
    interleaved_jpeg,
    pairs_jpeg,
    png,
    scans_jpeg,
    segment,
    webp,
)
from tests.support.images import FORMATS, encoded, load, noise, refused
from tests.support.memory import forget_peak, resident

JPEG = encoded(noise(64, 48), "JPEG")
PNG = png(8, 8, black(8, 8))
EXIF = b"Exif\0\0II*\0\x08\0\0\0" + bytes(range(256))


@pytest.mark.parametrize(
    "file",
    [
        after_start(JPEG, segment(0xE1, EXIF) + segment(0xFE, b"hello") + segment(0xE2, b"ICC")),
        after_start(JPEG, b"\xff" * 9 + segment(0xE5) + b"\xff\x01"),
    ],
    ids=["metadata", "padding"],
)
def test_of_a_jpeg_what_decides_the_pixels_is_left(file: bytes) -> None:
    assert without_metadata(file) == JPEG
    np.testing.assert_array_equal(load(file), load(JPEG))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("more", [b"\xff\xda" * 1000, JPEG], ids=["film", "second"])
def test_what_follows_a_jpeg_counts_for_nothing(more: bytes, *, progressive: bool) -> None:
    file = encoded(noise(64, 48), "JPEG", progressive=progressive)
    np.testing.assert_array_equal(load(file + more), load(file))  # phones append films


def test_a_thumbnail_is_not_taken_for_the_picture() -> None:
    small = encoded(noise(16, 12), "JPEG")
    assert without_metadata(after_start(JPEG, segment(0xE1, b"Exif\0\0" + small))) == JPEG


def test_adobe_says_how_four_components_are_colours() -> None:
    file = encoded(Image.new("CMYK", (50, 40), (255, 0, 0, 0)), "JPEG")
    assert b"Adobe" in without_metadata(file)


@pytest.mark.parametrize("progressive", [False, True])
def test_scans_and_restarts_are_left(*, progressive: bool) -> None:
    file = encoded(noise(300, 200), "JPEG", progressive=progressive, restart_marker_blocks=3)
    assert b"\xff\xd3" in file
    assert without_metadata(file) == file


def test_of_a_png_what_decides_the_pixels_is_left() -> None:
    extra = chunk(b"tEXt", b"a\0b"), chunk(b"prVt"), chunk(b"iCCP", b"p\0\0")
    assert without_metadata(png(8, 8, *extra, black(8, 8), extra[0]) + b"more") == PNG


@pytest.mark.parametrize("file_format", FORMATS)
def test_an_essence_is_its_own(file_format: str) -> None:
    once = without_metadata(encoded(noise(70, 50), file_format))
    assert without_metadata(once) == once


@pytest.mark.parametrize(
    ("reason", "file"),
    [
        ("slow", scans_jpeg(64, 48, MAX_SCANS)),
        ("slow", scans_jpeg(64, 48, MAX_SCANS, frame=0xC2)),
        ("slow", after_start(JPEG, segment(0xFE) * MAX_PIECES)),
        ("slow", after_start(JPEG, b"\xff\xd0" * MAX_PIECES)),
        ("slow", png(8, 8, chunk(b"IDAT") * MAX_PIECES, black(8, 8))),
        ("slow", png(8, 8, chunk(b"prVt") * MAX_PIECES, black(8, 8))),
        ("slow", webp(*[(b"ABCD", b"")] * (MAX_PIECES + 1))),
        ("unknown_codec", JPEG.replace(b"\xff\xc0", b"\xff\xc9")),
        ("unknown_codec", JPEG.replace(b"\xff\xc0", b"\xff\xc3")),
        ("damaged", after_start(JPEG, b"\xff\xe0\xff\xff")[:9000]),
        ("damaged", after_start(JPEG, b"\xff\xe0\0\1")),
        ("damaged", JPEG[:2] + b"\xff\xda"),
    ],
)
def test_what_no_encoder_writes_is_refused(reason: str, file: bytes) -> None:
    assert refused(file) == reason


def test_as_many_scans_as_allowed_decode() -> None:
    load(scans_jpeg(64, 48, MAX_SCANS - 3))
    load(scans_jpeg(64, 48, MAX_SCANS - 3, frame=0xC2), take_incomplete=True)


INTERLEAVED: dict[str, Callable[[int], bytes]] = {
    "progressive, all": lambda scans: interleaved_jpeg(64, 48, scans - 1, (1, 2, 3)),
    "progressive, two": lambda scans: interleaved_jpeg(64, 48, scans - 1, (2, 3)),
    "baseline, two": lambda scans: pairs_jpeg(64, 48, scans),
    "extended, two": lambda scans: pairs_jpeg(64, 48, scans, frame=0xC1),
}


@pytest.mark.parametrize("of", INTERLEAVED.values(), ids=INTERLEAVED)
def test_scans_of_several_components_count_too(of: Callable[[int], bytes]) -> None:
    """A scan of all components is the last one of a baseline JPEG, not of a progressive one."""
    load(of(MAX_SCANS), take_incomplete=True)
    assert refused(of(MAX_SCANS + 1)) == "slow"
    assert refused(of(2000)) == "slow"


@pytest.mark.parametrize(
    "file",
    [
        after_start(JPEG, b"\xff" * 16_000_000),
        after_start(JPEG, segment(0xE5) * 4_000_000),
        png(8, 8, chunk(b"IDAT") * 1_300_000, black(8, 8)),
        scans_jpeg(64, 48, 1_000_000),
    ],
    ids=["padding", "segments", "chunks", "scans"],
)
def test_a_file_of_sixteen_megabytes_is_seen_through_at_once(file: bytes) -> None:
    """Ten to twenty seconds each for a decoder that follows them, and up to half a gigabyte."""
    begin = time.thread_time()
    try:
        without_metadata(file)
    except ImageError as error:
        assert error.reason == "slow"  # noqa: PT017 - one of them has nothing left to refuse
    assert time.thread_time() - begin < 1


def test_a_webp_of_65536_code_tables_does_not_take_the_memory_that_it_asks_for() -> None:
    file = groups_webp(1024)
    assert len(file) < 300_000
    load(groups_webp(64))  # a smaller one loads: the file is well-formed
    forget_peak()
    before = resident()
    assert refused(file) == "damaged"
    assert resident() - before < 64 * 2**20
    load(encoded(noise(1000, 800), "WEBP", lossless=True))  # the limit is lifted again


MUTABLE = [encoded(noise(70, 50), file_format) for file_format in FORMATS] + [
    scans_jpeg(64, 48, 20, frame=0xC2),
    interleaved_jpeg(64, 48, 20, (1, 2, 3)),
    groups_webp(16),
]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(MUTABLE),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 255)), max_size=6),
    st.integers(0, 3000),
)
def test_of_any_file_no_more_than_it_had_is_left(
    file: bytes, flips: list[tuple[int, int]], cut: int
) -> None:
    changed = bytearray(file)
    for position, mask in flips:
        changed[position % len(changed)] ^= mask
    changed = changed[: len(changed) - cut % len(changed)]
    try:
        left = without_metadata(bytes(changed))
    except ImageError as error:
        assert error.reason in {"slow", "damaged", "unknown_codec"}  # noqa: PT017 - or it is left
    else:
        assert len(left) <= len(changed)
        assert without_metadata(left) == left
        if changed.startswith(JPEG[:3]):  # what it costs is reckoned by the file as it came
            assert list(jpeg_pieces(bytes(changed))) == list(jpeg_pieces(left))
