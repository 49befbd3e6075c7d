"""CIFAR-100 as lossless WebP mosaics: 1000 images a file, in the official order.

A folder of ``train-00.webp`` to ``train-49.webp``, ``test-00.webp`` to ``test-09.webp``, each 25
rows of 40 tiles of 32 x 32 pixels; ``labels.npz`` with uint8 arrays ``train_fine`` and
``test_fine``; ``fine_names.txt``, one class name a line. 73 MB instead of 178 MB.
"""

import io
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from devit_iot.datasets.pixels import pixel_source
from devit_iot.datasets.source import ImageSource
from devit_iot.datasets.tree import Tree
from devit_iot.errors import DataError
from devit_iot.text_file import decode_text

ROWS, COLUMNS, SIDE = 25, 40, 32
IMAGES = ROWS * COLUMNS
_AGAIN = "copy or download it again"


def is_mosaics(tree: Tree) -> bool:
    """Whether ``tree`` is such a folder."""
    return {"labels.npz", "fine_names.txt"} <= set(tree.names)


def mosaic_source(tree: Tree, split: str) -> ImageSource:
    """Decode the mosaics of ``train`` or ``test`` into memory.

    Raises:
        DataError: a file is missing or damaged, or the labels do not fit the mosaics.
    """
    labels = _labels(tree, split)
    found = [name for name in tree.names if name.startswith(f"{split}-") and name.endswith(".webp")]
    wanted = [f"{split}-{index:02d}.webp" for index in range(-(-len(labels) // IMAGES))]
    missing = sorted(set(wanted) - set(found))
    if missing:
        raise DataError(f"{tree.path} lacks the mosaic {missing[0]}; {_AGAIN}")
    if len(found) * IMAGES != len(labels):
        raise DataError(
            f"{tree.path} has {len(labels)} labels for {len(found)} {split} mosaics of {IMAGES} "
            f"images; {_AGAIN}"
        )
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        pixels = np.concatenate(list(pool.map(lambda name: _tiles(tree, name), wanted)))
    classes = tuple(decode_text(tree.read("fine_names.txt"), "replace").split())
    return pixel_source(str(tree.path), split, classes, pixels, labels)


def _labels(tree: Tree, split: str) -> NDArray[np.int64]:
    try:
        with np.load(io.BytesIO(tree.read("labels.npz")), allow_pickle=False) as arrays:
            labels: NDArray[np.int64] = arrays[f"{split}_fine"].astype(np.int64)
    except Exception as error:  # numpy and zipfile raise many types for damaged files
        raise DataError(f"labels.npz of {tree.path} is damaged ({error}); {_AGAIN}") from error
    if labels.ndim != 1 or not len(labels):
        raise DataError(f"labels.npz of {tree.path} has no {split} labels; {_AGAIN}")
    return labels


def _tiles(tree: Tree, name: str) -> NDArray[np.uint8]:
    """One mosaic -> uint8[1000, 32, 32, 3]."""
    try:
        with Image.open(io.BytesIO(tree.read(name)), formats=["WEBP"]) as image:
            size = image.size
            pixels = np.asarray(image.convert("RGB")) if size == _SIZE else None
    except DataError:
        raise
    except Exception as error:  # decoders raise many types for damaged files
        raise DataError(f"{name} of {tree.path} is damaged ({error}); {_AGAIN}") from error
    if pixels is None:
        raise DataError(f"{name} of {tree.path} has {size} pixels, not {_SIZE}; {_AGAIN}")
    grid = pixels.reshape(ROWS, SIDE, COLUMNS, SIDE, 3)
    return grid.transpose(0, 2, 1, 3, 4).reshape(IMAGES, SIDE, SIDE, 3)


_SIZE = (COLUMNS * SIDE, ROWS * SIDE)
