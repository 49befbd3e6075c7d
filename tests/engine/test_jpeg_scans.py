"""A JPEG without all of its picture is refused; one that lacks only its last two bytes is not."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from devit_iot.errors import ImageError
from tests.support.bombs import scans_jpeg
from tests.support.images import encoded, load, noise, refused

END = b"\xff\xd9"


def start_of_scan(file: bytes) -> int:
    """Where the data of the first scan begin."""
    marker = file.index(b"\xff\xda")
    return marker + 2 + int.from_bytes(file[marker + 2 : marker + 4], "big")


def cut(file: bytes, share: float) -> bytes:
    """A JPEG of one scan with this share of its data, and an end of image behind them."""
    start = start_of_scan(file)
    return file[: start + int(share * (len(file) - 2 - start))] + END


def grey_below(image: Image.Image) -> Image.Image:
    """The same picture, whose lower two thirds are what a decoder fills in for missing data."""
    image.paste((128, 128, 128), (0, image.height // 3, image.width, image.height))
    return image


PICTURES = {
    "noise": noise(200, 150),
    "grey": Image.new("RGB", (200, 150), (128, 128, 128)),
    "grey below": grey_below(noise(200, 150)),
    "black": Image.new("RGB", (200, 150)),
    "one component": noise(200, 150).convert("L"),
    "four components": noise(200, 150).convert("CMYK"),
}
FORMS = {
    "baseline": {},
    "444": {"subsampling": 0},
    "restarts": {"restart_marker_blocks": 5},
    "a restart each block": {"restart_marker_blocks": 1},
    "coarse": {"quality": 1},
    "fine": {"quality": 100},
    "progressive": {"progressive": True},
    "progressive with restarts": {"progressive": True, "restart_marker_blocks": 7},
}
TRAILERS = {
    "nothing": b"",
    "end": END,
    "zeros": bytes(64),
    "end and zeros": END + bytes(64),
    "end and CRLF": END + b"\r\n",
    "end and a film": END + b"\xff\xda" * 100,
}


@pytest.mark.parametrize("trailer", TRAILERS.values(), ids=TRAILERS)
@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_whole_pictures_are_taken(
    picture: Image.Image, options: dict[str, int], trailer: bytes
) -> None:
    file = encoded(picture, "JPEG", **options)
    found = load(file[:-2] + trailer)
    np.testing.assert_array_equal(found, load(file, take_incomplete=True))


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 130),
    st.integers(1, 130),
    st.integers(0, 2),
    st.integers(1, 100),
    st.sampled_from([{}, {"progressive": True}]),
    st.sampled_from([0, 0, 1, 3, 50]),
)
def test_whole_pictures_of_any_size_are_taken(
    width: int, height: int, subsampling: int, quality: int, kind: dict[str, bool], restarts: int
) -> None:
    file = encoded(
        noise(width, height),
        "JPEG",
        subsampling=subsampling,
        quality=quality,
        restart_marker_blocks=restarts,
        **kind,
    )
    wanted = load(file, take_incomplete=True)
    np.testing.assert_array_equal(load(file), wanted)
    np.testing.assert_array_equal(load(file[:-2]), wanted)


BASELINE = {name: options for name, options in FORMS.items() if "progressive" not in name}


@pytest.mark.parametrize("share", [0.0, 0.125, 0.5, 0.9])
@pytest.mark.parametrize("end", [END, b"", bytes(1) + END, END + bytes(9)])
@pytest.mark.parametrize("options", BASELINE.values(), ids=BASELINE)
def test_scan_data_that_end_early_are_noticed(
    options: dict[str, int], end: bytes, share: float
) -> None:
    file = cut(encoded(noise(400, 300), "JPEG", **options), share)[:-2] + end
    with pytest.raises(ImageError, match=r"images\.incomplete") as caught:
        load(file)
    assert caught.value.reason == "incomplete"


def test_an_incomplete_picture_can_be_taken() -> None:
    file = cut(encoded(noise(400, 300), "JPEG"), 0.125)
    rows = load(file, take_incomplete=True).astype(int)
    assert np.abs(rows[20:] - 128).max() <= 1
    assert np.ptp(rows[:2]) > 20
    np.testing.assert_array_equal(load(file[:-2], take_incomplete=True), rows)


def test_a_restart_that_nobody_announced_ends_the_data() -> None:
    """A decoder takes it for the end too, and fills the rest with grey."""
    file = cut(encoded(noise(400, 300), "JPEG"), 0.125)
    assert refused(file[:-2] + b"\xff\xd0" + bytes(9000) + END) == "incomplete"


def test_a_picture_that_is_higher_than_its_data_is_noticed() -> None:
    file = bytearray(encoded(noise(64, 64), "JPEG"))
    frame = file.index(b"\xff\xc0")
    file[frame + 5 : frame + 7] = (640).to_bytes(2, "big")
    assert refused(bytes(file)) == "incomplete"


@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_gap_between_restarts_is_noticed(mode: str, options: dict[str, int]) -> None:
    """A decoder finds its way at the next restart, and shows grey or the wrong blocks."""
    picture = noise(400, 300).convert(mode)
    file = encoded(picture, "JPEG", restart_marker_blocks=9, **options)
    load(file)
    load(file[:-2] + b"\xff\xd0" + END)  # some chips write one more
    third, ninth = file.index(b"\xff\xd2"), file.index(b"\xff\xd0", file.index(b"\xff\xd7"))
    assert refused(file[:third] + file[ninth:]) == "incomplete"
    load(file[:third] + file[ninth:], take_incomplete=True)


def scans(file: bytes) -> list[int]:
    """Where the scans of a JPEG without thumbnails begin."""
    return [at for at in range(len(file)) if file.startswith(b"\xff\xda", at)]


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("end", [END, b""])
def test_scans_that_are_missing_are_noticed(mode: str, end: bytes) -> None:
    file = encoded(noise(400, 300).convert(mode), "JPEG", progressive=True)
    begins = scans(file)
    assert len(begins) > 5
    ends = (*begins[1:], *((one + two) // 2 for one, two in itertools.pairwise(begins)))
    assert {refused(file[:at] + end) for at in ends} == {"incomplete"}


def test_in_the_last_scan_of_several_an_early_end_passes() -> None:
    """It refines what is there: the picture differs by a shade."""
    file = encoded(noise(400, 300), "JPEG", progressive=True)
    last = scans(file)[-1]
    found = load(file[: (last + len(file)) // 2] + END).astype(int)
    assert np.abs(found - load(file)).max() < 16


def test_a_component_without_a_scan_is_noticed() -> None:
    file = scans_jpeg(64, 48, 0)
    load(file)
    assert refused(file[: scans(file)[2]] + END) == "incomplete"
