"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) as published: the Python and the binary version.

https://www.cs.toronto.edu/~kriz/cifar.html describes both. The Python version consists of pickles,
which can run any code. They are read with a closed list of names that stand for nothing but an
array's shape and bytes; any other name is refused.
"""

import io
import pickle
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from devit_iot.datasets.pixels import pixel_source
from devit_iot.datasets.source import ImageSource
from devit_iot.datasets.tree import Tree
from devit_iot.errors import DataError
from devit_iot.text_file import decode_text

SIDE = 32
_PIXELS = 3 * SIDE * SIDE
_LIMIT = 2**30


class _Layout(NamedTuple):
    """How one version is spread over files.

    Attributes:
        files: split -> its files, in order.
        names: the file of the class names.
        names_key: key of the class names in that file; empty for a text file.
        labels_key: key of the labels in a pickle; empty for binary files.
        label_bytes: bytes before the pixels of a binary record; the last one is the label.
    """

    files: dict[str, tuple[str, ...]]
    names: str
    names_key: str = ""
    labels_key: str = ""
    label_bytes: int = 1


_LAYOUTS = (
    _Layout({"train": ("train",), "test": ("test",)}, "meta", "fine_label_names", "fine_labels"),
    _Layout(
        {"train": ("train.bin",), "test": ("test.bin",)}, "fine_label_names.txt", label_bytes=2
    ),
    _Layout(
        {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
        "batches.meta",
        "label_names",
        "labels",
    ),
    _Layout(
        {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)},
        "batches.meta.txt",
    ),
)


def is_cifar(tree: Tree) -> bool:
    """Whether the files of a version, one of them at least, lie at the top of ``tree``."""
    return _layout(tree) is not None


def cifar_source(tree: Tree, split: str) -> ImageSource:
    """Read the split ``train`` or ``test`` into memory, in the official order.

    Raises:
        DataError: a file is missing, truncated, or a pickle that holds something else.
    """
    layout = _layout(tree)
    if layout is None:
        raise DataError(f"{tree.path} holds no version of CIFAR")
    for name in (layout.names, *layout.files[split]):
        if name not in tree.names:
            raise DataError(
                f"{tree.path} lacks the file '{name}' of CIFAR; copy or download it again"
            )
    read = _read_pickle if layout.labels_key else _read_binary
    blocks = [read(tree, name, layout) for name in layout.files[split]]
    planes = np.concatenate([block[0] for block in blocks])
    pixels = np.ascontiguousarray(planes.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))
    labels = np.concatenate([block[1] for block in blocks])
    return pixel_source(str(tree.path), split, _classes(tree, layout), pixels, labels)


def _layout(tree: Tree) -> _Layout | None:
    names = {name for name in tree.names if "/" not in name}
    for layout in _LAYOUTS:
        files = {file for split in layout.files.values() for file in split}
        if names & files and (layout.names in names or files <= names):
            return layout
    return None


def _classes(tree: Tree, layout: _Layout) -> tuple[str, ...]:
    if layout.names_key:
        names = _unpickle(tree, layout.names).get(layout.names_key)
    else:
        names = decode_text(tree.read(layout.names), "replace").split()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _damaged(tree, layout.names, "it holds no list of class names")
    return tuple(names)


def _read_binary(
    tree: Tree, name: str, layout: _Layout
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    content = np.frombuffer(tree.read(name, limit=_LIMIT), np.uint8)
    record = layout.label_bytes + _PIXELS
    if not len(content) or len(content) % record:
        raise _damaged(tree, name, f"{len(content)} bytes are no multiple of {record}")
    records = content.reshape(-1, record)
    labels = records[:, layout.label_bytes - 1].astype(np.int64)
    return records[:, layout.label_bytes :], labels


def _read_pickle(
    tree: Tree, name: str, layout: _Layout
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    content = _unpickle(tree, name)
    data, labels = content.get("data"), content.get(layout.labels_key)
    if not isinstance(data, _Array) or not isinstance(labels, list):
        raise _damaged(tree, name, f"it lacks 'data' or '{layout.labels_key}'")
    if not all(type(label) is int and abs(label) < 2**31 for label in labels):
        raise _damaged(tree, name, "a label is no number")
    try:
        planes = data.pixels()
    except ValueError as error:
        raise _damaged(tree, name, str(error)) from error
    if len(planes) != len(labels):
        raise _damaged(tree, name, f"{len(labels)} labels for {len(planes)} images")
    return planes, np.array(labels, np.int64)


def _damaged(tree: Tree, name: str, why: str) -> DataError:
    return DataError(
        f"{name} of {tree.path} is truncated or damaged ({why}); copy or download it again"
    )


class _DType:
    """Stands for ``numpy.dtype``: only its code, such as ``u1``, is kept."""

    def __init__(self, code: object = None, *_flags: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Byte order and the like: one byte has none."""


class _Array:
    """Stands for ``numpy.ndarray``: keeps the state that the pickle gives it."""

    def __init__(self, *_arguments: object) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def pixels(self) -> NDArray[np.uint8]:
        """uint8[count, 3072]; ValueError for any other array."""
        match self.state:
            case (
                int(),
                (int(count), int(width)),
                _DType(code="u1"),
                bool(fortran),
                str() | bytes() as raw,
            ):
                content = raw.encode("latin-1") if isinstance(raw, str) else raw
                if width == _PIXELS and not fortran and 0 < count == len(content) // _PIXELS:
                    return np.frombuffer(content, np.uint8, count * width).reshape(count, width)
        raise ValueError(f"its array is not uint8[count, {_PIXELS}]")


class _Latin1:
    """Stands for ``_codecs.encode``, by which Python 3 writes bytes in the old format.

    Its ``__setstate__`` keeps a pickle from setting attributes on it.
    """

    def __new__(cls, text: object = "", *_encoding: object) -> bytes:  # type: ignore[misc]
        if not isinstance(text, str):
            raise pickle.UnpicklingError("it encodes something that is no text")
        return text.encode("latin-1")

    def __setstate__(self, state: object) -> None:
        """A string has no state to set."""


_KNOWN = {
    ("numpy", "dtype"): _DType,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("_codecs", "encode"): _Latin1,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _KNOWN:
            raise _RefusedError(f"{module}.{name}")
        return _KNOWN[module, name]

    def persistent_load(self, pid: object) -> NoReturn:
        raise _RefusedError(f"the persistent object {pid!r}")


class _RefusedError(Exception):
    """A pickle names something that no CIFAR file names."""


def _unpickle(tree: Tree, name: str) -> dict[object, object]:
    payload = tree.read(name, limit=_LIMIT)
    try:
        content = _Unpickler(io.BytesIO(payload), encoding="latin-1").load()
    except _RefusedError as error:
        raise DataError(
            f"{name} of {tree.path} is no CIFAR file: its pickle asks for {error}, which could run "
            "code; nothing was run; download it from a source that you trust"
        ) from error
    except Exception as error:  # a damaged pickle raises nearly anything
        raise _damaged(tree, name, str(error)) from error
    if not isinstance(content, dict):
        raise _damaged(tree, name, "it holds no dictionary")
    return content
