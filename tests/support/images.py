"""Images as files, and what becomes of them."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from devit_iot.bundle.spec import BlockSpec, SubVitSpec
from devit_iot.engine.image import load_image
from devit_iot.errors import ImageError

SPEC = SubVitSpec(
    image_size=32,
    resize_size=37,
    patch_size=8,
    embed_dim=4,
    head_dim=4,
    prefix_tokens=1,
    blocks=(BlockSpec(1, 4),),
)


SIZE = (SPEC.image_size, SPEC.image_size, 3)


FORMATS = ["JPEG", "PNG", "WEBP"]


def noise(width: int, height: int) -> Image.Image:
    """Smooth enough for a JPEG, and different at every place."""
    rng = np.random.default_rng(width * 10_000 + height)
    coarse = rng.integers(0, 256, (max(2, height // 8), max(2, width // 8), 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:  # noqa: ANN401
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def load(payload: bytes, **limits: Any) -> NDArray[np.uint8]:  # noqa: ANN401
    """Load, and check what every result must be."""
    result = load_image(payload, SPEC, **limits)
    assert result.shape == SIZE
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    return result


def refused(payload: bytes, **limits: Any) -> str:  # noqa: ANN401
    with pytest.raises(ImageError) as caught:
        load_image(payload, SPEC, **limits)
    return caught.value.reason


def jpeg_that_claims(width: int, height: int) -> bytes:
    """A small JPEG whose frame header lies about its size."""
    payload = bytearray(encoded(noise(16, 16), "JPEG"))
    frame = payload.index(b"\xff\xc0")  # marker, length, precision, height, width
    assert payload[frame + 5 : frame + 9] == struct.pack(">HH", 16, 16)
    payload[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(payload)


def png_that_claims(width: int, height: int) -> bytes:
    payload = bytearray(encoded(noise(16, 16), "PNG"))
    payload[16:24] = struct.pack(">II", width, height)
    payload[29:33] = struct.pack(">I", zlib.crc32(payload[12:29]))
    return bytes(payload)
