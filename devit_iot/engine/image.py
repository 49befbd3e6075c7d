"""Image bytes -> the uint8 RGB square that a sub-ViT takes. The only place that decodes."""

import io
import math
import resource
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError, WebPImagePlugin

from devit_iot.bundle.spec import CHANNELS, Filter, SubVitSpec
from devit_iot.engine.image_file import jpeg_of, jpeg_pieces, without_metadata
from devit_iot.engine.jpeg_cost import JpegFrame, jpeg_frame, too_large
from devit_iot.engine.jpeg_scans import END_OF_IMAGE, missing, open_ended
from devit_iot.errors import ImageError
from devit_iot.limits import MAX_PIXELS
from devit_iot.protocol.crop import Crop
from devit_iot.protocol.image_message import JPEG

try:
    from devit_iot import _core
except ImportError:  # a board without our kernels: Pillow gives the same bytes, later
    _core = None  # type: ignore[assignment]

_PLUGINS = (  # imported here, or the first frame would wait for it
    JpegImagePlugin.JpegImageFile,
    PngImagePlugin.PngImageFile,
    WebPImagePlugin.WebPImageFile,
)
FORMATS = tuple(plugin.format for plugin in _PLUGINS)
MAX_ASPECT = 8

_PILLOW = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

_BYTES_PER_PIXEL = 17
"""What decoding costs at worst, measured: WebP 16, PNG 8, a JPEG of one scan far less."""

_WEBP_TABLES = 32 * 2**20
"""For the code tables of a lossless WebP. Real ones need far less; 65536 of them, in a file of
300 kB, need 363 MB."""

FEW_PIXELS = 2**26
"""Pillow warns about pictures of more, and about none of so many."""

_limiting = threading.Lock()


def decoding_bytes(pixels: int) -> int:
    """The memory that decoding an image of so many pixels may take."""
    return _BYTES_PER_PIXEL * pixels + _WEBP_TABLES


def load_image(
    payload: bytes,
    spec: SubVitSpec,
    *,
    max_pixels: int = MAX_PIXELS,
    take_incomplete: bool = False,
    crop: Crop | None = None,
) -> NDArray[np.uint8]:
    """Decode, resize the short side to ``spec.resize_size``, crop the centre.

    A ``spec`` that squashes resizes both sides to ``spec.resize_size`` instead. A ``spec`` with a
    view enlarges both sides so that the view of the crop is as large as the crop, and the view is
    cut out instead. Every pixel of it comes from the file's own pixels, resized once.

    A JPEG at least twice as large as needed is decoded at a reduced DCT scale, still twice as
    large as needed: the resize that follows keeps the result antialiased, and computes the crop
    only. The bytes are those of Pillow's resize of all columns, then of all rows, by the filter of
    ``spec``.

    Args:
        payload: one JPEG, PNG or WebP file.
        spec: the part's shape; gives ``image_size``, ``resize_size``, ``resized`` and ``seen``.
        max_pixels: larger images are refused by their header, before anything is decoded. A JPEG
            counts with the pixels that its reduced scale leaves
            (:mod:`devit_iot.engine.jpeg_cost`). What else would take long is refused too
            (:mod:`devit_iot.engine.image_file`), so that the pixels bound time and memory.
        take_incomplete: whether a JPEG counts whose data end early: the missing part is grey.
        crop: rectangle of the picture that counts as the picture; None: all of it.

    Returns:
        uint8[image_size, image_size, 3], RGB, C-contiguous.

    Raises:
        ImageError: empty, not one of these formats, truncated, damaged, incomplete, too large
            or too slow.
    """
    if not payload:
        raise ImageError("empty", "empty image payload")
    is_jpeg = payload.startswith(JPEG)
    pieces = list(jpeg_pieces(payload)) if is_jpeg else []
    file = jpeg_of(pieces) if is_jpeg else without_metadata(payload)
    source = _Source(_prepared(file, take_incomplete=take_incomplete))
    try:
        frame = jpeg_frame(pieces) if is_jpeg else None
        if frame is not None:
            frame.check(max_pixels)
        with _quietly(frame), _opened(source, frame) as image:
            return _square(image, spec, max_pixels, frame, crop)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError("too_large", f"image refused by its header: {error}") from error
    except Exception as error:  # decoders raise many types for damaged files
        if source.ran_dry and source.getvalue().startswith(JPEG):
            raise missing("its data end early") from error
        raise ImageError("damaged", f"image does not decode: {_words(error)}") from error


class _Source(io.BytesIO):
    """A file that remembers whether its reader wanted more than it holds."""

    ran_dry = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Read from the file, and note whether it had nothing more."""
        content = super().read(size)
        self.ran_dry = self.ran_dry or not content
        return content


@contextmanager
def _quietly(frame: JpegFrame | None) -> Iterator[None]:
    """Ignore what Pillow warns about inside the block: odd metadata, and many pixels.

    The filters of warnings are not touched for a JPEG of few pixels, which costs time at each
    image: its metadata are gone.
    """
    if frame is not None and frame.width * frame.height <= FEW_PIXELS:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _prepared(file: bytes, *, take_incomplete: bool) -> bytes:
    """A file without metadata as its decoder is to get it; a JPEG may lack its last two bytes."""
    if not file.startswith(JPEG):
        return file
    return file + END_OF_IMAGE if take_incomplete else open_ended(file)


def _words(error: Exception) -> str:
    """Pillow names the file object that it cannot identify, or the marker that it misses."""
    unknown = isinstance(error, UnidentifiedImageError | SyntaxError)
    return "its header is damaged" if unknown else str(error)


def _opened(source: io.BytesIO, frame: JpegFrame | None) -> Image.Image:
    """The image, of which only the header was read.

    Pillow's own limit of pixels would count those of a JPEG before its scale.
    """
    if frame is None:
        return Image.open(source, formats=FORMATS)
    return JpegImagePlugin.JpegImageFile(source)


def _square(
    image: Image.Image,
    spec: SubVitSpec,
    max_pixels: int,
    frame: JpegFrame | None,
    crop: Crop | None,
) -> NDArray[np.uint8]:
    needed = 2 * math.ceil(spec.resize_size * spec.seen.zoom)
    width_share, height_share = (1.0, 1.0) if crop is None else crop.share
    drafted = None
    if frame is not None:
        least = math.ceil(needed / width_share), math.ceil(needed / height_share)
        drafted = image.draft("RGB", least)
        frame.check_decoded(*image.size, max_pixels, _BYTES_PER_PIXEL * max_pixels)
    width, height = image.size
    if width * height > max_pixels:
        raise too_large(width, height, max_pixels)
    if image.format == WebPImagePlugin.WebPImageFile.format:
        with _memory_limit(decoding_bytes(width * height)):
            image.load()
    rgb, extent = _rgb(image), drafted[1][2:] if drafted else image.size
    if crop is not None:
        rgb = rgb.crop(crop.box(*rgb.size))
        extent = rgb.size
    if spec.resized.fit == "crop":
        rgb, extent = _without_ends(rgb, extent)
    window = _window(extent, spec)
    pixels = _pixels(rgb)
    return _resized_by_pillow(rgb, window) if pixels is None else _resized(pixels, window)


@contextmanager
def _memory_limit(more: int) -> Iterator[None]:
    """Give this process ``more`` bytes inside the block, and no decoder beyond that.

    An allocation then fails, and the image with it, where the kernel would kill the process.
    """
    with _limiting:  # the limit is the process's, so two threads must not take turns
        before, most = resource.getrlimit(resource.RLIMIT_DATA)
        pages = int(Path("/proc/self/statm").read_text().split()[5])
        limits = {pages * resource.getpagesize() + more, before, most} - {resource.RLIM_INFINITY}
        resource.setrlimit(resource.RLIMIT_DATA, (min(limits), most))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, (before, most))


class _Window(NamedTuple):
    """What to compute of a picture. Pairs are (columns, rows).

    Attributes:
        extent: size of the picture in the pixels at hand; a reduced JPEG ends within its last ones.
        full: size of the whole picture once it is resized.
        offset: place of the window in the resized picture.
        side: side of the window, pixels.
        filter: filter by which the picture is resized.
    """

    extent: tuple[float, float]
    full: tuple[int, int]
    offset: tuple[int, int]
    side: int
    filter: Filter


def _window(extent: tuple[float, float], spec: SubVitSpec) -> _Window:
    """Where the part looks: its view of the centre crop."""
    crop, view, how = spec.image_size, spec.seen, spec.resized
    scale = spec.resize_size / min(extent)
    full, offset = [], []
    for side, start, share in zip(extent, (view.x, view.y), (view.width, view.height), strict=True):
        # The long side is rounded to the nearest pixel, the crop's offset down.
        long = max(spec.resize_size, round(side * scale))
        resized = spec.resize_size if how.fit == "squash" else long
        full.append(round(resized / share))
        left = round(((resized - crop) // 2 + start * crop) / share)
        offset.append(min(left, full[-1] - crop))
    return _Window(extent, (full[0], full[1]), (offset[0], offset[1]), crop, how.filter)


def _pixels(rgb: Image.Image) -> NDArray[np.uint8] | None:
    """The picture's own memory, uint8[rows, columns, 4]; None if our kernels cannot have it.

    Pillow gives a picture of more than 16 MB several pieces.
    """
    if _core is None:
        return None
    try:
        _, array = rgb.__arrow_c_array__()
    except ValueError:
        return None
    return _core.arrow_bytes(array).reshape(rgb.height, rgb.width, 4)


def _resized(pixels: NDArray[np.uint8], window: _Window) -> NDArray[np.uint8]:
    out = np.empty((window.side, window.side, CHANNELS), np.uint8)
    columns, rows = 0, 1
    _core.resize_window(
        pixels,
        out,
        extent=(window.extent[rows], window.extent[columns]),
        full=(window.full[rows], window.full[columns]),
        offset=(window.offset[rows], window.offset[columns]),
        interpolation=window.filter,
    )
    return out


def _resized_by_pillow(rgb: Image.Image, window: _Window) -> NDArray[np.uint8]:
    """Columns first, then rows: which of them Pillow does first depends on its version."""
    (width, height), (left, top) = window.full, window.offset
    by = _PILLOW[window.filter]
    narrow = rgb.resize((width, rgb.height), by, (0, 0, window.extent[0], rgb.height))
    whole = narrow.resize((width, height), by, (0, 0, width, window.extent[1]))
    square = whole.crop((left, top, left + window.side, top + window.side))
    return np.ascontiguousarray(np.asarray(square, dtype=np.uint8))


def _rgb(image: Image.Image) -> Image.Image:
    """Convert to 8-bit RGB; Pillow alone would clip 16-bit grey to white."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image, np.uint32) >> 8).astype(np.uint8))
    if image.mode != "RGB":
        return image.convert("RGB")
    image.load()
    return image  # converting it would copy it


def _without_ends(
    rgb: Image.Image, extent: tuple[float, float]
) -> tuple[Image.Image, tuple[float, float]]:
    """Cut a very long image to its middle: the crop would, after resizing millions of pixels."""
    longest = MAX_ASPECT * min(rgb.size)
    width, height = (min(side, longest) for side in rgb.size)
    if (width, height) == rgb.size:
        return rgb, extent
    left, top = (rgb.width - width) // 2, (rgb.height - height) // 2
    cut = rgb.crop((left, top, left + width, top + height))
    return cut, (min(extent[0], width), min(extent[1], height))
