"""Labelled images: ImageFolder trees on disk or in a zip, and decoding them into one array."""

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from devit_iot.errors import DataError, ImageError
from devit_iot.messages import IMAGE_SUFFIXES

MAX_FILE_BYTES = 64 * 2**20
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)

Decode = Callable[[bytes], NDArray[np.uint8]]
"""One encoded image -> uint8[size, size, 3]: the very function that serves, given from above."""


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


def read_image_folder(path: Path) -> Iterator[Sample]:
    """The images of an ImageFolder tree (``class/file.ext``), a folder or a zip, in name order.

    Raises:
        DataError: no such tree, no image in it, or a file too large to be one.
    """
    if path.is_dir():
        files = {f"{file.parent.name}/{file.name}": file for file in path.glob("*/*")}
        for name in _image_names(path, files):
            _check_size(name, files[name].stat().st_size)
            yield Sample(name, files[name].read_bytes())
        return
    try:
        with zipfile.ZipFile(path) as archive:
            for name in _image_names(path, archive.namelist()):
                _check_size(name, archive.getinfo(name).file_size)
                yield Sample(name, archive.read(name))
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} is neither a folder nor a zip of class folders: {error}"
        ) from error


def write_image_zip(path: Path, samples: Iterable[Sample]) -> None:
    """Write ``samples`` as a zip; the same samples give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for sample in sorted(samples):
            archive.writestr(zipfile.ZipInfo(sample.name, _ZIP_DATE), sample.payload)
    path.write_bytes(buffer.getvalue())


def decode_images(samples: Iterable[Sample], decode: Decode) -> ImageSet:
    """Decode every sample; the sorted folder names are the classes.

    Raises:
        DataError: no sample, or one that does not decode; its name is in the message.
    """
    names, images = [], []
    for sample in samples:
        names.append(sample.class_name)
        try:
            images.append(decode(sample.payload))
        except ImageError as error:
            raise DataError(f"{sample.name}: {error}; repair or remove the file") from error
    if not images:
        raise DataError("the data set holds no image")
    classes = tuple(sorted(set(names)))
    label = {name: index for index, name in enumerate(classes)}
    labels = np.array([label[name] for name in names], np.int64)
    return ImageSet(classes, np.stack(images), labels)


def _image_names(path: Path, names: Iterable[str]) -> list[str]:
    found = sorted(
        name
        for name in names
        if (pure := PurePosixPath(name)).suffix.lower() in IMAGE_SUFFIXES and len(pure.parts) == 2  # noqa: PLR2004 - class/file
    )
    if not found:
        raise DataError(f"{path} holds no class/image file ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return found


def _check_size(name: str, size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise DataError(f"{name} has {size} bytes; at most {MAX_FILE_BYTES} are read")
