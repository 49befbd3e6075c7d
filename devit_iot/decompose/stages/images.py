"""The training and test images of a recipe, ready for batches."""

import functools
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from devit_iot.bundle.manifest import MAX_NAME_LENGTH
from devit_iot.datasets.source import (
    Decode,
    ImageSource,
    check_headers,
    decode_sample,
    decode_source,
    hold_out,
)
from devit_iot.datasets.sources import check_same_classes, open_source
from devit_iot.decompose.recipe import Recipe
from devit_iot.decompose.run_folder.progress import Progress
from devit_iot.decompose.stages.enough import check_classes, check_parts
from devit_iot.decompose.training.batches import Pixels
from devit_iot.decompose.training.context import TrainingData
from devit_iot.errors import DataError
from devit_iot.protocol.text import is_plain

MAX_DEVICE_BYTES = 8 * 2**30
DECODERS = 8
"""Threads that decode images when they are needed."""


class Decoded:
    """Images in memory: in that of the device that trains, where they are not too many.

    Args:
        images: uint8[count, size, size, 3].
        device: device that trains.
    """

    def __init__(self, images: NDArray[np.uint8], device: torch.device) -> None:
        home = device if images.nbytes <= MAX_DEVICE_BYTES else torch.device("cpu")
        self._images = torch.from_numpy(images).to(home)

    def __len__(self) -> int:
        return len(self._images)

    def take(self, rows: NDArray[np.int64]) -> Tensor:
        """See :class:`devit_iot.decompose.training.batches.Pixels`."""
        return self._images[torch.from_numpy(rows).to(self._images.device)]


class Lazy:
    """Images that are read and decoded when they are needed."""

    def __init__(self, source: ImageSource, decode: Decode) -> None:
        self._source = source
        self._decode = decode
        self._pool = ThreadPoolExecutor(DECODERS)

    def __len__(self) -> int:
        return len(self._source)

    def take(self, rows: NDArray[np.int64]) -> Tensor:
        """See :class:`devit_iot.decompose.training.batches.Pixels`.

        Raises:
            DataError: an image that does not decode; its name is in the message.
        """
        return torch.from_numpy(np.stack(list(self._pool.map(self._one, rows.tolist()))))

    def _one(self, row: int) -> NDArray[np.uint8]:
        return decode_sample(self._source.sample(row), self._decode)


def read_images(
    recipe: Recipe,
    base: Path,
    decode: Decode,
    progress: Progress,
    device: torch.device,
    warn: Callable[[str], object] = lambda _: None,
    *,
    processes: int = 1,
) -> tuple[TrainingData, TrainingData]:
    """Open both splits of the recipe's data; decode them, unless the recipe says ``lazy``.

    Args:
        recipe: gives the data, and how it is split.
        base: folder that the data's relative path starts from.
        decode: image bytes -> pixels.
        progress: told about every image.
        device: device that trains.
        warn: told, in a sentence, about what is left out of the data or assumed of them.
        processes: number of processes that train together.

    Returns:
        The training images; and the test images, all of them as ``fit``, none held out.

    Raises:
        DataError: see :func:`devit_iot.datasets.sources.open_source`; or fewer classes than parts,
            a class whose name no bundle takes, or too few images for what the recipe does
            (:mod:`devit_iot.decompose.stages.enough`).
    """
    sources = {
        split: open_source(recipe.data.source, base, split=split) for split in ("train", "test")
    }
    train, test = sources["train"], sources["test"]
    for note in dict.fromkeys(note for found in sources.values() for note in found.notes):
        warn(note)
    check_same_classes(train, test)
    for name in train.classes:
        if not is_plain(name, MAX_NAME_LENGTH):
            raise DataError(
                f"class {name[:MAX_NAME_LENGTH]!r} of {train.origin} has a name over "
                f"{MAX_NAME_LENGTH} characters, or with some that cannot be printed; rename it"
            )
    if len(train.classes) < recipe.partition.parts:
        raise DataError(
            f"{train.origin} has {len(train.classes)} classes, too few for "
            f"{recipe.partition.parts} parts; give fewer parts"
        )
    check_classes(train)
    fit, held_out = hold_out(train.labels, recipe.data.held_out, recipe.seed)
    check_parts(recipe, train, fit, processes)
    pixels: dict[str, Pixels] = {}
    for split, source in sources.items():
        count = functools.partial(progress, f"{split} images")
        if recipe.data.lazy:
            check_headers(source, progress=count)
            pixels[split] = Lazy(source, decode)
        else:
            decoded = decode_source(source, decode, progress=count)
            pixels[split] = Decoded(decoded.images, device)
    nothing = np.empty(0, np.int64)
    return (
        TrainingData(
            train.classes, pixels["train"], train.labels, fit, held_out, _fingerprint(train)
        ),
        TrainingData(test.classes, pixels["test"], test.labels, np.arange(len(test)), nothing),
    )


def _fingerprint(source: ImageSource) -> str:
    """Hex SHA-256 of which images there are, and of which class."""
    listed = "\0".join((*source.classes, *source.names)).encode("utf-8", "surrogateescape")
    return hashlib.sha256(listed + source.labels.astype("<i8").tobytes()).hexdigest()
