"""Folders of images meet the classes of a bundle: by name, however it is typed, or by index."""

import numpy as np
import pytest

from devit_iot.datasets.class_names import distinct
from devit_iot.datasets.source import ImageSource
from devit_iot.errors import DataError
from devit_iot.evaluation.labels import bundle_labels


def source(*folders: str) -> ImageSource:
    """One image in each folder."""
    names = tuple(f"{folder}/1.png" for folder in folders)
    return ImageSource("photos", folders, names, np.arange(len(folders)), lambda *_: b"")


def found(classes: tuple[str, ...], images: ImageSource) -> list[int]:
    """The labels, where there is nothing to say of them."""
    labels, notes = bundle_labels(classes, images)
    assert notes == ()
    return [int(label) for label in labels]


def test_folders_by_name_and_by_index() -> None:
    assert found(("ant", "bee", "cow"), source("cow", "ant")) == [2, 0]
    assert found(("ant", "bee", "cow"), source("2", "0")) == [2, 0]


def test_letters_that_look_alike_are_alike() -> None:
    """macOS writes an accent as a letter of its own (NFD), most others do not (NFC)."""
    assert found(("caf\u00e9", "bar"), source("cafe\u0301")) == [0]
    assert found(("cafe\u0301", "bar"), source("caf\u00e9")) == [0]


def test_a_name_of_two_classes_is_refused_where_it_is_used() -> None:
    classes = ("crane", "tench", "crane")
    with pytest.raises(DataError, match="'crane' of photos names several classes of the bundle"):
        bundle_labels(classes, source("crane"))
    assert found(classes, source("tench")) == [1]
    assert found(classes, source("0", "2")) == [0, 2]


def test_a_folder_of_names_that_were_told_apart_learns_them() -> None:
    """ImageNet's folders of cranes have one name, and a bundle's classes two."""
    classes = distinct(("crane", "tench", "crane"))
    with pytest.raises(
        DataError, match=r"several classes of the bundle \(crane \(0\), crane \(2\)"
    ):
        bundle_labels(classes, source("crane"))
    assert found(classes, source("crane (2)", "tench")) == [2, 1]
    with pytest.raises(DataError, match="'dog' of photos is no class of the bundle"):
        bundle_labels(("dog (1)", "bee"), source("dog"))


def test_other_folders_are_refused() -> None:
    with pytest.raises(DataError, match="'dog' of photos is no class of the bundle"):
        bundle_labels(("ant", "bee"), source("ant", "dog"))


INSECTS = ("ant", "bee", "cow", "dog")


@pytest.mark.parametrize(
    ("folders", "labels"),
    [
        (("1", "2", "3", "4"), [0, 1, 2, 3]),
        (("1", "10", "2", "4"), None),
        (("2", "4"), [1, 3]),
        (("001", "004"), [0, 3]),
        (("01", "2", "004"), [0, 1, 3]),
    ],
)
def test_folders_counted_from_one_are_told_by_the_last(
    folders: tuple[str, ...], labels: list[int] | None
) -> None:
    if labels is None:
        with pytest.raises(DataError, match="'10' of photos is no class"):
            bundle_labels(INSECTS, source(*folders))
        return
    got, (note,) = bundle_labels(INSECTS, source(*folders))
    assert got.tolist() == labels
    first = folders[0]
    assert note == (
        f"folders are numbered from 1, to 4: folder '{first}' of photos is class "
        f"'{INSECTS[labels[0]]}'"
    )


@pytest.mark.parametrize(
    ("folders", "labels"), [(("000", "003"), [0, 3]), (("0", "1"), [0, 1]), (("00", "2"), [0, 2])]
)
def test_a_folder_zero_means_counting_from_zero(
    folders: tuple[str, ...], labels: list[int]
) -> None:
    assert found(INSECTS, source(*folders)) == labels


def test_where_nothing_tells_it_is_said_what_was_assumed() -> None:
    got, (note,) = bundle_labels(INSECTS, source("1", "02"))
    assert got.tolist() == [1, 2]
    assert note == (
        "ASSUMED: folders are numbered from 0, though there is none for 0 nor for 4, which would "
        "tell: folder '1' of photos is class 'bee'"
    )


def test_folders_of_a_sample_tell_by_all_of_them() -> None:
    """With --count some folders have no image, and still tell."""
    few = source("1", "2", "3", "4").subset(np.array([0, 1]))
    assert bundle_labels(INSECTS, few).labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("0", "1", "4"), "has folders '0' and '4', but there are 4 classes"),
        (("1", "01"), "folders '1' and '01' of photos have one number"),
        (("0", "5"), "'5' of photos is no class"),
        (("1", "ant"), "'1' of photos is no class"),
        (("\u0661", "\u0662"), "is no class"),
        (("-1", "1"), "'-1' of photos is no class"),
    ],
)
def test_numbers_that_cannot_be_are_refused(folders: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        bundle_labels(INSECTS, source(*folders))


def test_classes_with_numbers_as_names_match_equal_numbers() -> None:
    """A bundle made of folders 01 to 10, measured on folders 1 to 10."""
    classes = tuple(f"{number:02d}" for number in range(1, 11))
    assert found(classes, source("1", "10")) == [0, 9]
    assert found(("1", "2"), source("01", "02")) == [0, 1]
    with pytest.raises(DataError, match="'0' of photos is no class"):
        bundle_labels(classes, source("0", "1"))
