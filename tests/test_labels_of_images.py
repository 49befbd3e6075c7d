"""Folders of images meet the classes of a bundle: by name, however it is typed, or by index."""

import numpy as np
import pytest

from devit_iot.cli.images import bundle_labels
from devit_iot.decompose.data import ImageSource
from devit_iot.errors import DataError


def source(*folders: str) -> ImageSource:
    """One image in each folder."""
    names = tuple(f"{folder}/1.png" for folder in folders)
    return ImageSource("photos", folders, names, np.arange(len(folders)), lambda *_: b"")


def test_folders_by_name_and_by_index() -> None:
    assert bundle_labels(("ant", "bee", "cow"), source("cow", "ant")).tolist() == [2, 0]
    assert bundle_labels(("ant", "bee", "cow"), source("2", "0")).tolist() == [2, 0]


def test_letters_that_look_alike_are_alike() -> None:
    """macOS writes an accent as a letter of its own (NFD), most others do not (NFC)."""
    assert bundle_labels(("caf\u00e9", "bar"), source("cafe\u0301")).tolist() == [0]
    assert bundle_labels(("cafe\u0301", "bar"), source("caf\u00e9")).tolist() == [0]


def test_a_name_of_two_classes_is_refused_where_it_is_used() -> None:
    classes = ("crane", "tench", "crane")
    with pytest.raises(DataError, match="'crane' of photos names several classes of the bundle"):
        bundle_labels(classes, source("crane"))
    assert bundle_labels(classes, source("tench")).tolist() == [1]
    assert bundle_labels(classes, source("0", "2")).tolist() == [0, 2]


def test_other_folders_are_refused() -> None:
    with pytest.raises(DataError, match="'dog' of photos is no class of the bundle"):
        bundle_labels(("ant", "bee"), source("ant", "dog"))
