"""The 1797 handwritten digits that scikit-learn carries: real data without a download.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998
(CC BY 4.0).
"""

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from devit_iot.decompose.data import Sample

SIDE = 32
HELD_OUT_PER_CLASS = 36
SPLIT_SEED = 7
GREY_LEVELS = 16


def read_digits(*, held_out: bool) -> Iterator[Sample]:
    """The training images, or the 360 held-out ones, as PNG files of 32 x 32 grey pixels.

    The split is stratified, and fixed: it does not depend on a recipe's seed.
    """
    data = load_digits()
    chosen = _held_out(data.target)
    for index in np.flatnonzero(chosen if held_out else ~chosen):
        yield Sample(f"{data.target[index]}/{index:04d}.png", _png(data.images[index]))


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
