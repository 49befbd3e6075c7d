"""Image bytes -> the uint8 RGB square that a sub-ViT takes. The only place that decodes."""

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError, WebPImagePlugin

from devit_iot.errors import ImageError
from devit_iot.spec import SubVitSpec

_PLUGINS = (  # imported here, or the first frame would wait for it
    JpegImagePlugin.JpegImageFile,
    PngImagePlugin.PngImageFile,
    WebPImagePlugin.WebPImageFile,
)
FORMATS = tuple(plugin.format for plugin in _PLUGINS)
DEFAULT_MAX_PIXELS = 32_000_000
MAX_ASPECT = 8


def load_image(
    payload: bytes, spec: SubVitSpec, *, max_pixels: int = DEFAULT_MAX_PIXELS
) -> NDArray[np.uint8]:
    """Decode, resize the short side to ``spec.resize_size`` (bicubic), crop the centre.

    A JPEG at least twice as large as needed is decoded at a reduced DCT scale, still twice as
    large as needed: the bicubic resize that follows keeps the result antialiased.

    Args:
        payload: one JPEG, PNG or WebP file.
        spec: the part's shape; gives ``image_size`` and ``resize_size``.
        max_pixels: larger images are refused by their header, before anything is decoded.

    Returns:
        uint8[image_size, image_size, 3], RGB, C-contiguous.

    Raises:
        ImageError: empty, not one of these formats, truncated, damaged or too large.
    """
    if not payload:
        raise ImageError("empty", "empty image payload")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about odd metadata; pixels are enough
            with Image.open(io.BytesIO(payload), formats=FORMATS) as image:
                return _square(image, spec, max_pixels)
    except UnidentifiedImageError as error:
        raise ImageError(
            "unknown_codec", f"payload of {len(payload)} bytes is no JPEG, PNG or WebP image"
        ) from error
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError("too_large", f"image refused by its header: {error}") from error
    except Exception as error:  # decoders raise many types for damaged files
        raise ImageError("damaged", f"image does not decode: {error}") from error


def _square(image: Image.Image, spec: SubVitSpec, max_pixels: int) -> NDArray[np.uint8]:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(
            "too_large", f"image of {width}x{height} pixels is over the limit of {max_pixels}"
        )
    resize, crop = spec.resize_size, spec.image_size
    image.draft("RGB", (2 * resize, 2 * resize))
    rgb = _without_ends(_rgb(image))
    # The long side is rounded to the nearest pixel, the crop's offset down.
    scale = resize / min(rgb.size)
    full = (max(resize, round(rgb.width * scale)), max(resize, round(rgb.height * scale)))
    left, top = ((side - crop) // 2 for side in full)
    resized = rgb.resize(full, Image.Resampling.BICUBIC)
    square = resized.crop((left, top, left + crop, top + crop))
    return np.ascontiguousarray(np.asarray(square, dtype=np.uint8))


def _rgb(image: Image.Image) -> Image.Image:
    """Convert to 8-bit RGB; Pillow alone would clip 16-bit grey to white."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image, np.uint32) >> 8).astype(np.uint8))
    return image.convert("RGB")


def _without_ends(rgb: Image.Image) -> Image.Image:
    """Cut a very long image to its middle: the crop would, after resizing millions of pixels."""
    longest = MAX_ASPECT * min(rgb.size)
    width, height = (min(side, longest) for side in rgb.size)
    if (width, height) == rgb.size:
        return rgb
    left, top = (rgb.width - width) // 2, (rgb.height - height) // 2
    return rgb.crop((left, top, left + width, top + height))
