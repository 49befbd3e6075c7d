"""Image files of kinds that nodes do not take, made into PNG where a person's files are read."""

import io
import warnings

from devit_iot.errors import ImageError
from devit_iot.limits import MAX_PIXELS

OTHER_SUFFIXES = frozenset({".bmp", ".gif", ".tif", ".tiff"})
"""Of files that are converted; of several frames the first one counts."""


def is_other(name: str) -> bool:
    """Whether a file of this name is to be converted."""
    return name.lower().endswith(tuple(OTHER_SUFFIXES))


def _check_size(size: tuple[int, int]) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise ImageError(
            "too_large", f"image of {size[0]}x{size[1]} pixels is over the limit of {MAX_PIXELS}"
        )


def to_png(payload: bytes) -> bytes:
    """The first picture in a BMP, GIF or TIFF file as a PNG file, with the same pixels.

    Raises:
        ImageError: it is none of these, damaged, or too large.
    """
    from PIL import BmpImagePlugin, GifImagePlugin, Image, TiffImagePlugin  # not for nodes

    kinds = (BmpImagePlugin.BmpImageFile, GifImagePlugin.GifImageFile,
             TiffImagePlugin.TiffImageFile)  # fmt: skip
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata; pixels are enough
            formats = tuple(kind.format for kind in kinds)
            with Image.open(io.BytesIO(payload), formats=formats) as image:
                _check_size(image.size)
                keeps = image.mode in {"1", "L", "LA", "RGB", "RGBA", "I;16"}
                buffer = io.BytesIO()
                picture = image if keeps else image.convert("RGB")
                picture.save(buffer, "png", compress_level=0)
    except ImageError:
        raise
    except Exception as error:  # decoders raise many types for damaged files
        raise ImageError("damaged", f"image does not decode: {error}") from error
    return buffer.getvalue()
