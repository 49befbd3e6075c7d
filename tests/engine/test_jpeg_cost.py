"""A JPEG counts as it is decoded: large ones of phones pass, and none takes more than others."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from PIL import Image

from devit_iot.bundle.spec import View
from devit_iot.cli.classify import classify
from devit_iot.cli.evaluate import evaluate
from devit_iot.config.config import NodeConfig
from devit_iot.datasets.other_image import to_png
from devit_iot.datasets.source import decode_source
from devit_iot.datasets.sources import open_source
from devit_iot.engine.image import load_image
from devit_iot.engine.image_file import jpeg_pieces
from devit_iot.engine.jpeg_cost import HEADER_PIXELS, jpeg_frame
from devit_iot.errors import ImageError
from devit_iot.limits import MAX_PIXELS
from tests.support.bombs import scans_jpeg
from tests.support.fleets import make_bundle
from tests.support.images import SPEC, encoded, load, noise, refused
from tests.support.memory import forget_peak, resident

ROOT = Path(__file__).parents[2]
MB = 10**6
TAKES = """
import sys
from pathlib import Path
from tests.support.images import load
from tests.support.memory import forget_peak, resident
payload = Path(sys.argv[1]).read_bytes()
forget_peak()
before = resident()
load(payload)
print(resident() - before)
"""


def phone(width: int, height: int, **options: int) -> bytes:
    """A JPEG of one colour, as large as a phone's; it compresses to little."""
    return encoded(Image.new("RGB", (width, height), (200, 40, 10)), "JPEG", **options)


@pytest.mark.parametrize(("width", "height"), [(8160, 6120), (12_000, 9000)])
def test_a_phones_large_picture_is_read(width: int, height: int) -> None:
    payload = phone(width, height)
    assert width * height > MAX_PIXELS
    forget_peak()
    before = resident()
    assert np.abs(load(payload).astype(int) - (200, 40, 10)).max() <= 3
    assert resident() - before < 64 * MB


def test_a_progressive_one_is_read_and_takes_what_is_reckoned(tmp_path: Path) -> None:
    payload = phone(8160, 6120, progressive=True)
    frame = jpeg_frame(jpeg_pieces(payload))
    assert (frame.width, frame.height) == (8160, 6120)
    assert frame.scans > 5
    (tmp_path / "progressive.jpg").write_bytes(payload)
    # A process of its own: this one may have the memory from earlier tests.
    done = subprocess.run(
        [sys.executable, "-P", "-c", TAKES, tmp_path / "progressive.jpg"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert 0.8 * frame.kept_bytes < int(done.stdout) < 1.2 * frame.kept_bytes + 32 * MB


def test_the_limit_counts_what_the_scale_leaves() -> None:
    payload = encoded(noise(1600, 1200), "JPEG")  # at an eighth 200 x 150, twice the 37 needed
    load(payload, max_pixels=1600 * 1200 // HEADER_PIXELS)
    assert refused(payload, max_pixels=1600 * 1200 // HEADER_PIXELS - 1) == "too_large"


@pytest.mark.parametrize("size", [(4000, 70), (70, 4000)])
def test_a_long_one_that_cannot_be_reduced_counts_whole(size: tuple[int, int]) -> None:
    payload = encoded(noise(*size), "JPEG")
    load(payload, max_pixels=4000 * 70)
    assert refused(payload, max_pixels=4000 * 70 - 1) == "too_large"


def test_a_close_view_counts_what_it_needs() -> None:
    payload = encoded(noise(1600, 1200), "JPEG")
    close = replace(SPEC, view=View(0.4, 0.4, 0.1, 0.1))
    with pytest.raises(ImageError, match=r"1600x1200 pixels is over the limit of 300000"):
        load_image(payload, close, max_pixels=300_000)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_other_formats_count_whole(file_format: str) -> None:
    payload = encoded(noise(400, 300), file_format)
    assert refused(payload, max_pixels=400 * 300 - 1) == "too_large"


def test_coefficients_that_are_kept_count_as_memory() -> None:
    """Three bytes for each pixel of the file, or six: seventeen of each allowed pixel suffice."""
    for subsampling, bytes_per_pixel in ((2, 3), (0, 6)):
        payload = encoded(noise(1600, 1200), "JPEG", progressive=True, subsampling=subsampling)
        frame = jpeg_frame(jpeg_pieces(payload))
        assert frame.kept_bytes == pytest.approx(bytes_per_pixel * 1600 * 1200, rel=0.02)
    load(payload, max_pixels=720_000)
    with pytest.raises(ImageError, match="takes 11 MB to decode, over the limit of 10 MB; save it"):
        load_image(payload, SPEC, max_pixels=640_000)
    baseline = encoded(noise(1600, 1200), "JPEG", subsampling=0)
    load(baseline, max_pixels=640_000)


@pytest.mark.parametrize("frame", [0xC0, 0xC2])
def test_passes_over_more_pixels_must_be_fewer(frame: int) -> None:
    payload = scans_jpeg(640, 480, 80, frame=frame)
    load(payload, max_pixels=640 * 480, take_incomplete=True)
    with pytest.raises(ImageError, match="in 83 scans, each a pass over all of them, is over"):
        load(payload, max_pixels=640 * 480 * 83 // 100 - 1, take_incomplete=True)


def test_a_bomb_at_every_limit_takes_no_more_memory_than_other_images() -> None:
    """256 megapixels in 3 MB, whose coefficients would take 1.5 GB."""
    payload = scans_jpeg(16_000, 16_000, 5, frame=0xC2)
    forget_peak()
    before = resident()
    assert refused(payload, take_incomplete=True) == "too_large"
    assert resident() - before < 32 * MB


def test_a_header_that_lies_takes_no_memory() -> None:
    payload = bytearray(encoded(noise(16, 16), "JPEG"))
    at = payload.index(b"\xff\xc0")
    payload[at + 5 : at + 9] = struct.pack(">HH", 13_000, 13_000)
    forget_peak()
    before = resident()
    load(bytes(payload), take_incomplete=True)  # what is not there is grey
    assert resident() - before < 64 * MB


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame[:9] + b"\x00",
        lambda frame: frame[:9] + b"\xff" + frame[10:],
        lambda frame: frame[:11] + b"\x00" + frame[12:],
        lambda frame: frame + frame,
    ],
    ids=["no colours", "too few", "no samples", "twice"],
)
def test_frames_that_cannot_be_are_refused(change: object) -> None:
    file = encoded(noise(16, 16), "JPEG")
    at = file.index(b"\xff\xc0")
    frame = file[at : at + 19]
    assert callable(change)
    changed = change(frame)
    if len(changed) < len(frame):
        changed = changed[:2] + struct.pack(">H", len(changed) - 2) + changed[4:]
    assert refused(file[:at] + changed + file[at + 19 :]) == "damaged"


def test_the_commands_read_a_phones_picture(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    (tmp_path / "photos/ant").mkdir(parents=True)
    photo = tmp_path / "photos/ant/phone.jpg"
    photo.write_bytes(phone(8160, 6120))
    (tmp_path / "photos/ant/small.jpg").write_bytes(encoded(noise(60, 50), "JPEG"))
    done = CliRunner().invoke(classify, [str(bundle.path), str(photo)])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(evaluate, [str(bundle.path), "--data", str(tmp_path / "photos")])
    assert done.stdout.startswith("2 images"), done.output
    assert "unreadable" not in done.output
    decoded = decode_source(
        open_source(str(tmp_path / "photos"), Path(), split="test", strict=False), load
    )
    assert len(decoded.images) == 2


def test_the_number_has_one_owner() -> None:
    assert NodeConfig().max_pixels == MAX_PIXELS
    other = encoded(Image.new("1", (MAX_PIXELS // 4000 + 1, 4000)), "TIFF", compression="group4")
    with pytest.raises(ImageError, match=f"over the limit of {MAX_PIXELS}"):
        to_png(other)
    package = Path(__file__).parents[2] / "devit_iot"
    sources = {path.name for path in package.rglob("*.py") if "32_000_000" in path.read_text()}
    assert sources == {"limits.py"}
