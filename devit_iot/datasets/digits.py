"""The 1797 handwritten digits that scikit-learn carries: real data without a download.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998
(CC BY 4.0).
"""

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from devit_iot.datasets.source import ImageSource, Sample
from devit_iot.errors import DataError

SIDE = 32
HELD_OUT_PER_CLASS = 36
SPLIT_SEED = 7
GREY_LEVELS = 16


def read_digits(*, held_out: bool) -> Iterator[Sample]:
    """The training images, or the 360 held-out ones, as PNG files of 32 x 32 grey pixels.

    The split is stratified, and fixed: it does not depend on a recipe's seed.

    Raises:
        DataError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError(
            "'digits' needs scikit-learn; pip install 'devit-iot[train]', or name other images"
        ) from error
    data = load_digits()
    chosen = _held_out(data.target)
    for index in np.flatnonzero(chosen if held_out else ~chosen):
        yield Sample(f"{data.target[index]}/{index:04d}.png", _png(data.images[index]))


def digits_source(split: str) -> ImageSource:
    """The split ``train`` (1437 images) or ``test`` (360) in memory; DataError for another."""
    if split not in {"train", "test"}:
        raise DataError(f"the digits have no split '{split}'; there are: train, test")
    samples = list(read_digits(held_out=split == "test"))

    def read(index: int, count: int) -> bytes:
        payload = samples[index].payload
        return payload if count < 0 else payload[:count]

    return ImageSource(
        f"digits:{split}",
        tuple("0123456789"),
        tuple(sample.name for sample in samples),
        np.array([int(sample.class_name) for sample in samples], np.int64),
        read,
    )


def _held_out(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    rng = np.random.default_rng(SPLIT_SEED)
    chosen = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        chosen[rng.permutation(np.flatnonzero(labels == label))[:HELD_OUT_PER_CLASS]] = True
    return chosen


def _png(levels: NDArray[np.float64]) -> bytes:
    """8 x 8 numbers from 0 to 16 -> a PNG, light on dark."""
    grey = np.rint(levels * (255 / GREY_LEVELS)).astype(np.uint8)
    image = Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()
