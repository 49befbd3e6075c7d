"""Files of a folder, a zip or a tar, listed once and read one by one; nothing is extracted."""

import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from devit_iot.errors import DataError

MAX_FILE_BYTES = 64 * 2**20
_DEPTH = 64
"""Of folders; pictures may lie deeper in their class folder than at its top."""
_LITTER = frozenset(
    {"__macosx", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot"}
)
"""Folders that archivers of macOS and storage servers (Synology, QNAP) make: thumbnails, and what
was deleted."""
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
_DAMAGED = (
    OSError,
    EOFError,
    RuntimeError,  # an encrypted zip
    ValueError,
    KeyError,
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
)


_Reader = Callable[[str, int, int], bytes]
"""Name, count, limit -> the first ``count`` bytes of a file of at most ``limit``; -1 for all."""


@dataclass(frozen=True)
class Tree:
    """Files below one folder or inside one archive; those that :func:`is_litter` do not count.

    Attributes:
        path: the folder or archive.
        names: paths of all files, ``/`` between the levels, in order.
        directories: all folders, each with a ``/`` at its end, empty ones too.
        seekable: whether a file can be read without reading those before it.
    """

    path: Path
    names: tuple[str, ...] = field(repr=False)
    directories: tuple[str, ...] = field(repr=False)
    seekable: bool
    reader: _Reader = field(repr=False)

    @property
    def folders(self) -> frozenset[str]:
        """Names of the folders at the top, empty ones too."""
        paths = (*self.names, *self.directories)
        return frozenset(name.split("/", 1)[0] for name in paths if name.find("/") > 0)

    def read(self, name: str, count: int = -1, *, limit: int = MAX_FILE_BYTES) -> bytes:
        """The first ``count`` bytes of one file, or all of it. Safe to call from many threads.

        Raises:
            DataError: the file is larger than ``limit`` bytes, damaged, or gone.
        """
        try:
            return self.reader(name, count, limit)
        except _DAMAGED as error:
            raise DataError(
                f"{name} of {self.path} cannot be read ({error}); copy or download it again"
            ) from error

    def below(self, folder: str) -> "Tree":
        """What lies in one of the folders at the top."""
        prefix, reader = f"{folder}/", self.reader

        def inside(names: Iterable[str]) -> tuple[str, ...]:
            return tuple(name.removeprefix(prefix) for name in names if name.startswith(prefix))

        return replace(
            self,
            path=self.path / folder,
            names=inside(self.names),
            directories=inside(self.directories),
            reader=lambda name, count, limit: reader(prefix + name, count, limit),
        )


def is_litter(level: str) -> bool:
    """Whether a file or folder of this name is hidden, or holds no pictures of its own."""
    return level.startswith(".") or level.lower() in _LITTER


def open_tree(path: Path) -> Tree:
    """List a folder, a zip or a tar; one folder around all of it is skipped.

    Raises:
        DataError: no such path, neither of these, or a truncated archive.
    """
    try:
        if path.is_dir():
            return _folder(path)
        if path.is_file() and tarfile.is_tarfile(path):
            return _unwrapped(_tar(path))
        if zipfile.is_zipfile(path):
            return _unwrapped(_zip(path))
    except _DAMAGED as error:
        raise DataError(
            f"{path} is truncated or damaged ({error}); copy or download it again"
        ) from error
    state = "it is truncated or something else" if path.exists() else "there is no such path"
    raise DataError(f"{path} is neither a folder nor a zip or tar of class folders: {state}")


def _folder(path: Path) -> Tree:
    names: list[str] = []
    directories: list[str] = []

    def walk(folder: str, prefix: str, above: tuple[tuple[int, int], ...]) -> None:
        status = Path(folder).stat()
        identity = (status.st_dev, status.st_ino)
        if identity in above:  # a link that leads back: all of it was listed already
            return
        if len(above) == _DEPTH:
            raise OSError(f"{prefix} is more than {_DEPTH} folders deep")
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_litter(entry.name):
                    continue
                if entry.is_dir():
                    directories.append(f"{prefix}{entry.name}/")
                    walk(entry.path, f"{prefix}{entry.name}/", (*above, identity))
                else:
                    names.append(prefix + entry.name)

    def read(name: str, count: int, limit: int) -> bytes:
        with (path / name).open("rb") as file:
            _check_size(name, os.fstat(file.fileno()).st_size, limit)
            return file.read(count)

    walk(str(path), "", ())
    return Tree(path, tuple(sorted(names)), tuple(directories), seekable=True, reader=read)


def _zip(path: Path) -> Tree:
    archive = zipfile.ZipFile(path)  # closed with its last reader
    infos = {info.filename.removeprefix("./"): info for info in archive.infolist()}

    def read(name: str, count: int, limit: int) -> bytes:
        _check_size(name, infos[name].file_size, limit)
        with archive.open(infos[name]) as file:
            return file.read(count)

    files = (name for name, info in infos.items() if not info.is_dir())
    folders = (name for name, info in infos.items() if info.is_dir())
    return _archive(path, files, folders, read, seekable=True)


def _tar(path: Path) -> Tree:
    with tarfile.open(path) as archive:
        infos = {info.name.removeprefix("./"): info for info in archive.getmembers()}
    with path.open("rb") as file:
        plain = not file.read(6).startswith(_PACKED)
        file.seek(-tarfile.BLOCKSIZE, os.SEEK_END)
        if plain and any(file.read()):  # tarfile takes a cut between two files for the end
            raise EOFError("its end is missing")

    def read_plain(name: str, count: int, limit: int) -> bytes:
        info = infos[name]
        _check_size(name, info.size, limit)
        with path.open("rb") as file:
            file.seek(info.offset_data)
            payload = file.read(info.size if count < 0 else min(count, info.size))
        if count < 0 and len(payload) < info.size:
            raise EOFError("the archive ends within it")
        return payload

    def read_packed(name: str, count: int, limit: int) -> bytes:
        _check_size(name, infos[name].size, limit)
        with tarfile.open(path) as archive:
            file = archive.extractfile(infos[name].name)
            return b"" if file is None else file.read(count)

    files = (name for name, info in infos.items() if info.isreg())
    folders = (f"{name}/" for name, info in infos.items() if info.isdir())
    read = read_plain if plain else read_packed
    return _archive(path, files, folders, read, seekable=plain)


def _archive(
    path: Path, files: Iterable[str], folders: Iterable[str], reader: _Reader, *, seekable: bool
) -> Tree:
    def shown(names: Iterable[str]) -> list[str]:
        return [name for name in names if not any(map(is_litter, name.split("/")))]

    names = tuple(sorted(shown(files)))
    return Tree(path, names, tuple(shown(folders)), seekable, reader)


def _unwrapped(tree: Tree) -> Tree:
    """Skip a folder around everything, but not the class folder of a one-class tree."""
    tops = {name.split("/", 1)[0] for name in tree.names}
    if len(tops) != 1 or len(tree.folders) != 1:
        return tree
    inner = tree.below(*tops)
    markers = {"meta", "batches.meta", "labels.npz", "train.bin", "data_batch_1.bin"}
    if inner.folders or markers & set(inner.names):
        return replace(inner, path=tree.path)
    return tree


def _check_size(name: str, size: int, limit: int) -> None:
    if size > limit:
        raise DataError(f"{name} has {size} bytes; at most {limit} are read")
