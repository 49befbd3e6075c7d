"""Labelled images: read one by one, decoded at once, or split."""

import hashlib
import io
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from devit_iot.datasets.other_image import OTHER_SUFFIXES, is_other, to_png
from devit_iot.datasets.tree import Tree, open_tree
from devit_iot.errors import DataError, ImageError
from devit_iot.protocol.image_message import IMAGE_SUFFIXES

_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_CHUNK = 64
TEST_SHARE = 0.2
"""Of the images of a set without splits."""
_HEADER_BYTES = 12
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF")
SUFFIXES = ", ".join(sorted(IMAGE_SUFFIXES | OTHER_SUFFIXES))
_TEXT = frozenset({".csv", ".json", ".md", ".txt", ".xml", ".yaml", ".yml"})
"""Notes and labels that lie among pictures, and that nobody takes for one."""
_LITTER = frozenset({"thumbs.db", "desktop.ini"})

Decode = Callable[[bytes], NDArray[np.uint8]]
"""One encoded image -> uint8[size, size, 3]: the very function that serves, given from above."""

Progress = Callable[[int, int], None]
"""Images done, images in all."""


Reader = Callable[[int, int], bytes]
"""Index, count -> the first ``count`` bytes of an encoded image, all of it for -1."""


class Sample(NamedTuple):
    """One encoded image: ``class/file.ext`` and its bytes."""

    name: str
    payload: bytes

    @property
    def class_name(self) -> str:
        """The folder that the image lies in."""
        return self.name.split("/", 1)[0]


class ImageSet(NamedTuple):
    """Decoded images.

    Attributes:
        classes: names, by label.
        images: uint8[count, size, size, 3], RGB.
        labels: int64[count].
    """

    classes: tuple[str, ...]
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ImageSource:
    """Labelled images that are read one by one; :mod:`devit_iot.datasets.sources` opens them.

    Attributes:
        origin: the path or name of the data set, for messages.
        classes: names, by label.
        names: ``folder/.../file.ext`` of every image, unique.
        labels: int64[count], from 0 to ``len(classes) - 1``.
        notes: what was left out or assumed, for people.

    Raises:
        DataError: when made, if the labels do not fit the names and classes.
    """

    origin: str
    classes: tuple[str, ...]
    names: tuple[str, ...] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    reader: Reader = field(repr=False)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.names):
            raise DataError(
                f"{self.origin} has {len(self.labels)} labels for {len(self.names)} images; "
                "copy or download it again"
            )
        wrong = np.flatnonzero((self.labels < 0) | (self.labels >= len(self.classes)))
        if len(wrong):
            raise DataError(
                f"{self.origin}: {self.names[wrong[0]]} has label {self.labels[wrong[0]]}, but "
                f"there are {len(self.classes)} classes; copy or download it again"
            )

    def __len__(self) -> int:
        return len(self.names)

    def sample(self, index: int) -> Sample:
        """Read one image; safe to call from many threads.

        Raises:
            DataError: the file is gone, too large or damaged. It is not decoded here.
        """
        return Sample(self.names[index], self.reader(index, -1))

    def subset(self, indices: NDArray[np.int64]) -> "ImageSource":
        """The images at ``indices``, int64[count], in that order; the classes stay."""
        chosen = indices.tolist()
        return ImageSource(
            self.origin,
            self.classes,
            tuple(self.names[index] for index in chosen),
            self.labels[indices],
            lambda index, count: self.reader(chosen[index], count),
            self.notes,
        )


def decode_sample(sample: Sample, decode: Decode) -> NDArray[np.uint8]:
    """Decode one image.

    Raises:
        DataError: it does not decode; its name is in the message.
    """
    try:
        return decode(sample.payload)
    except ImageError as error:
        raise DataError(f"{sample.name}: {error}; repair or remove the file") from error


def decode_source(
    source: ImageSource,
    decode: Decode,
    *,
    progress: Progress | None = None,
    threads: int = 0,
) -> ImageSet:
    """Read and decode every image into one array.

    Args:
        source: the images, at least one.
        decode: image bytes -> pixels of one size for all.
        progress: told, on the calling thread, how many images are done.
        threads: number of threads that decode; 0 for one per CPU that this process may use.

    Raises:
        DataError: an image that does not decode; its name is in the message.
    """
    count = len(source)
    first = decode_sample(source.sample(0), decode)
    images = np.empty((count, *first.shape), np.uint8)

    def fill(begin: int) -> int:
        end = min(begin + _CHUNK, count)
        for index in range(begin, end):
            images[index] = decode_sample(source.sample(index), decode)
        return end - begin

    done = 0
    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        for finished in pool.map(fill, range(0, count, _CHUNK)):  # an error cancels the rest
            done += finished
            if progress is not None:
                progress(done, count)
    return ImageSet(source.classes, images, source.labels)


def check_headers(source: ImageSource, *, progress: Progress | None = None) -> None:
    """Read the first bytes of every image: cheap, before a training that decodes lazily.

    Raises:
        DataError: a file that begins like none of the formats; the first one is named.
    """
    wrong = []
    for index, name in enumerate(source.names):
        head = source.reader(index, _HEADER_BYTES)
        if not head.startswith(_SIGNATURES):
            wrong.append(name)
        if progress is not None and ((index + 1) % _CHUNK == 0 or index + 1 == len(source)):
            progress(index + 1, len(source))
    if wrong:
        more = f" ({len(wrong) - 1} more like it)" if len(wrong) > 1 else ""
        raise DataError(
            f"{wrong[0]} of {source.origin} begins like no JPEG, PNG or WebP file{more}; "
            "repair or remove it"
        )


def hold_out(
    labels: NDArray[np.int64], fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split indices for training and validation, class by class; always the same for one seed.

    Args:
        labels: int64[count].
        fraction: share of each class to hold out, rounded, but at least one image and never all.
        seed: decides which images are held out.

    Returns:
        Indices to train on and indices held out, each int64, ascending.

    Raises:
        DataError: the fraction is not between 0 and 1, or a class has a single image.
    """
    if not 0 < fraction < 1:
        raise DataError(f"the held-out fraction is {fraction}; it must lie between 0 and 1")
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        if len(members) == 1:
            raise DataError(
                f"class {label} has one image, too few to hold out any; add images or remove it"
            )
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        held_out[members[:count]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def split_by_name(source: ImageSource) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split an image set that has no splits: about a fifth of each class is for the test.

    The image's name alone decides, so images that come or go later move no other; but each class
    has at least one image on both sides.

    Returns:
        Indices to train on and to test on, each int64, ascending.

    Raises:
        DataError: a class has a single image.
    """
    encoded = [name.encode("utf-8", "surrogateescape") for name in source.names]
    drawn = np.array([int.from_bytes(hashlib.sha256(n).digest()[:4]) for n in encoded])
    test = drawn < TEST_SHARE * 2**32
    for label in np.unique(source.labels):
        members = np.flatnonzero(source.labels == label)
        if len(members) == 1:
            raise DataError(
                f"class '{source.classes[label]}' of {source.origin} has one image, too few to "
                "train and to test; add images or remove it"
            )
        ranked = members[np.argsort(drawn[members])]
        test[ranked[0]], test[ranked[-1]] = True, False
    return np.flatnonzero(~test), np.flatnonzero(test)


def read_image_folder(path: Path) -> Iterator[Sample]:
    """The images of an ImageFolder tree (``class/file.ext``), a folder or archive, in name order.

    Raises:
        DataError: no such tree, no image in it, or a file too large to be one.
    """
    tree = open_tree(path)
    for name in image_names(tree):
        yield Sample(name, read_picture(tree, name))


def image_names(tree: Tree) -> list[str]:
    """The ``class/.../file.ext`` names of ``tree``; DataError if there is none.

    A picture's class is the first folder, however deep in it the picture lies.
    """
    found = [
        name
        for name in tree.names
        if "/" in name and Path(name).suffix.lower() in IMAGE_SUFFIXES | OTHER_SUFFIXES
    ]
    if not found:
        raise DataError(f"{tree.path} holds no class/image file ({SUFFIXES})")
    return found


def left_out(tree: Tree) -> tuple[str, ...]:
    """What in class folders is no picture that is read, for people; empty if there is nothing."""
    suffixes = Counter(
        Path(name).suffix.lower() or "without a suffix"
        for name in tree.names
        if "/" in name and Path(name).suffix.lower() not in IMAGE_SUFFIXES | OTHER_SUFFIXES | _TEXT
        and Path(name).name.lower() not in _LITTER
    )  # fmt: skip
    if not suffixes:
        return ()
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(suffixes.items()))
    text = (
        f"{tree.path}: {sum(suffixes.values())} files were left out ({kinds}); pictures are read "
        f"from {SUFFIXES}"
    )
    return (text,)


def read_picture(tree: Tree, name: str, count: int = -1) -> bytes:
    """The first ``count`` bytes of a picture, all of it for -1; what nodes do not take as a PNG.

    Raises:
        DataError: the file is gone, too large, or cannot be converted.
    """
    if not is_other(name):
        return tree.read(name, count)
    try:
        converted = to_png(tree.read(name))
    except ImageError as error:
        raise DataError(f"{name}: {error}; repair or remove the file") from error
    return converted if count < 0 else converted[:count]


def write_image_zip(path: Path, samples: Iterable[Sample]) -> None:
    """Write ``samples`` as a zip; the same samples give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for sample in sorted(samples):
            archive.writestr(zipfile.ZipInfo(sample.name, _ZIP_DATE), sample.payload)
    path.write_bytes(buffer.getvalue())
