"""Sources whose images come as raw pixels: each is handed out as a PNG, made when asked for."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from devit_iot.decompose.data import ImageSource


def pixel_source(
    origin: str,
    split: str,
    classes: tuple[str, ...],
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
) -> ImageSource:
    """Make a source of ``pixels``, uint8[count, height, width, 3], RGB, kept in memory.

    Image 42 of the test split in class ``apple`` is named ``apple/test-00042.png``, so that the
    samples make an ImageFolder tree.

    Raises:
        DataError: the labels do not fit.
    """
    names = tuple(
        f"{classes[label] if 0 <= label < len(classes) else '?'}/{split}-{index:05d}.png"
        for index, label in enumerate(labels.tolist())
    )

    def read(index: int, count: int) -> bytes:
        payload = encode_png(pixels[index])
        return payload if count < 0 else payload[:count]

    return ImageSource(origin, classes, names, labels, read)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """uint8[height, width, 3] -> an uncompressed PNG file (ISO/IEC 15948), in microseconds."""
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each row begins with its filter, none
    rows[:, 1:] = pixels.reshape(height, 3 * width)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 0))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )
