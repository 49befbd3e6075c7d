"""Every kind of data set behind one function; the kind is recognised from the content.

    ImageFolder     ``class/file.ext``: a folder, a zip, or a plain tar
    with splits     a folder or archive of such trees, named ``train`` and ``test`` (or ``val``,
                    ``valid``, ``validation``); in a folder also ``train.tar``, ``test.zip``, ...;
                    without, a training keeps about a fifth of each class for the test
    CIFAR           the official archives of CIFAR-10 and CIFAR-100, packed or extracted
    mosaics         see :mod:`devit_iot.datasets.mosaics`
    ``digits``      the handwritten digits of scikit-learn

Beside an ImageFolder with numbers as folder names, ``class_names.txt`` may name the classes: its
line n, counted from 1, names folder n, or folder n - 1 if there is a folder 0.
"""

from pathlib import Path

import numpy as np

from devit_iot.datasets.cifar import cifar_source, is_cifar
from devit_iot.datasets.class_names import is_number, numbered, read_class_names
from devit_iot.datasets.mosaics import is_mosaics, mosaic_source
from devit_iot.datasets.source import (
    SUFFIXES,
    ImageSource,
    image_names,
    left_out,
    read_picture,
    split_by_name,
)
from devit_iot.datasets.tree import Tree, open_tree
from devit_iot.errors import DataError

SPLITS = {"train": ("train",), "test": ("test", "val", "valid", "validation")}
_ARCHIVES = (".tar", ".zip")
_NAMES_FILE = "class_names.txt"


def open_source(source: str, base: Path, *, split: str, strict: bool = True) -> ImageSource:
    """Open a data set; its files are listed, and read only when asked for.

    Args:
        source: ``digits``, or a path.
        base: folder that a relative path starts from.
        split: ``train`` or ``test``.
        strict: demand at least two classes, each with an image, and that both splits have the
            same classes: what a training needs. It splits a tree without splits by
            :func:`devit_iot.datasets.source.split_by_name`; otherwise that is used whole.

    Raises:
        DataError: no such data set or split, no image, damaged or truncated files, labels that do
            not fit, or, if strict, one class only, a class without images, differing splits.
    """
    if split not in SPLITS:
        raise DataError(f"no split '{split}'; there are: {', '.join(SPLITS)}")
    name, _, old_split = source.partition(":")
    if name == "digits":
        from devit_iot.datasets.digits import digits_source

        return digits_source(old_split or split)
    path = base / source
    tree = open_tree(path)
    if is_cifar(tree):
        found = cifar_source(tree, split)
    elif is_mosaics(tree):
        found = mosaic_source(tree, split)
    else:
        found = _open_folders(tree, split, strict=strict)
    if strict:
        _check(found, split)
    return found


def check_same_classes(train: ImageSource, test: ImageSource) -> None:
    """Raise DataError unless both have the same classes in the same order."""
    if train.classes == test.classes:
        return
    differing = sorted(set(train.classes) ^ set(test.classes))
    what = f"in {', '.join(differing[:5])}" if differing else "in their order"
    more = f" and {len(differing) - 5} more" if len(differing) > 5 else ""  # noqa: PLR2004
    raise DataError(
        f"{train.origin} and {test.origin} differ {what}{more}: training and test data must have "
        "the same classes"
    )


def _open_folders(tree: Tree, split: str, *, strict: bool) -> ImageSource:
    trees = {name: found for name in SPLITS if (found := _split_tree(tree, name)) is not None}
    if not trees:
        whole = _folder_source(tree, tree.path, strict=strict)
        if not strict:
            return whole
        _check(whole, split)
        return whole.subset(split_by_name(whole)[list(SPLITS).index(split)])
    if split not in trees:
        raise DataError(
            f"{tree.path} has no {split} split; add a folder '{SPLITS[split][0]}', or name another "
            "data set"
        )
    sources = {
        name: _folder_source(found, found.path, strict=strict)
        for name, found in trees.items()
        if strict or name == split
    }
    if len(sources) == len(SPLITS):
        check_same_classes(sources["train"], sources["test"])
    return sources[split]


def _split_tree(tree: Tree, split: str) -> Tree | None:
    """The part of ``tree`` for a split: class folders below a folder, or an archive of them."""
    for name in SPLITS[split]:
        if any(file.startswith(f"{name}/") and file.count("/") > 1 for file in tree.names):
            return tree.below(name)
        for suffix in _ARCHIVES:
            if f"{name}{suffix}" in tree.names and tree.path.is_dir():
                return open_tree(tree.path / f"{name}{suffix}")
    return None


def _folder_source(tree: Tree, path: Path, *, strict: bool) -> ImageSource:
    if not tree.seekable:
        raise DataError(f"{path} is a compressed tar of images; extract it and name the folder")
    names = tuple(image_names(tree))
    folders = sorted({name.split("/", 1)[0] for name in names})
    empty = sorted(tree.folders.difference(folders))
    if strict and empty:
        raise DataError(
            f"class folder '{empty[0]}' of {path} holds no image ({SUFFIXES}); add images or "
            "remove the folder"
        )
    label = {folder: index for index, folder in enumerate(folders)}
    classes, notes = _class_names(folders, path, path.parent / _NAMES_FILE)
    return ImageSource(
        str(path),
        classes,
        names,
        np.array([label[name.split("/", 1)[0]] for name in names], np.int64),
        lambda index, count: read_picture(tree, names[index], count),
        (*notes, *left_out(tree)),
    )


def _class_names(
    folders: list[str], path: Path, file: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The classes' names, and how folders were counted where it is not plain."""
    if not file.is_file() or not all(map(is_number, folders)):
        return tuple(folders), ()
    lines = read_class_names(file)
    index, notes = numbered(folders, lines, str(path), usual=1)
    for folder in folders:
        if folder not in index:
            raise DataError(
                f"{file} has {len(lines)} lines, none for class folder '{folder}'; line n, counted "
                "from 1, names folder n, or folder n - 1 if there is a folder 0"
            )
    names = tuple(lines[index[folder]] for folder in folders)
    for name in names:
        if not name or names.count(name) > 1:
            raise DataError(f"{file} gives the name '{name}' twice or is empty there; correct it")
    return names, notes


def _check(source: ImageSource, split: str) -> None:
    if len(source.classes) < 2:  # noqa: PLR2004 - there is nothing to tell apart
        raise DataError(
            f"{source.origin} has only the class '{source.classes[0]}'; at least two are needed"
        )
    counts = np.bincount(source.labels, minlength=len(source.classes))
    if not counts.all():
        raise DataError(
            f"class '{source.classes[int(counts.argmin())]}' of {source.origin} has no image in "
            f"the {split} split; add some or remove the class"
        )
