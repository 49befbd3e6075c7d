"""A small picture of a picture, to be shown beside many others."""

import io
import warnings

from PIL import Image

from devit_iot.errors import ImageError
from devit_iot.limits import MAX_PIXELS

SIDE = 192
"""Pixels of the longer side."""

_QUALITY = 75
_FORMATS = ("JPEG", "PNG", "WEBP")


def thumbnail(file: bytes) -> bytes:
    """A JPEG of at most :data:`SIDE` pixels a side, without metadata.

    Args:
        file: one JPEG, PNG or WebP file that nodes have decoded.

    Raises:
        ImageError: it does not decode, or has too many pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about odd metadata
            with Image.open(io.BytesIO(file), formats=_FORMATS) as image:
                image.draft("RGB", (2 * SIDE, 2 * SIDE))
                if image.width * image.height <= MAX_PIXELS:
                    return _small(image)
                size = f"{image.width} x {image.height} pixels"
    except Exception as error:  # decoders raise many types for damaged files
        raise ImageError("damaged", f"image does not decode: {error}") from error
    raise ImageError("too_large", size)


def _small(image: Image.Image) -> bytes:
    small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
