"""Sources whose images come as raw pixels: each is handed out as a PNG, made when asked for."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from devit_iot.datasets.source import ImageSource


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
    """uint8[height, width, 3] -> a PNG file, not compressed: it will be decoded at once."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png", compress_level=0)
    return buffer.getvalue()
