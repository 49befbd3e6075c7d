"""The pictures that are kept: one SQLite file of bounded size, with features and classes.

Pictures with a class stay until a person deletes them; all others make room.
"""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from devit_iot.errors import DataError

_PAGE = 4096
_ROOM = 1.25
"""SQLite may take so much more than the pictures themselves: pages are not full."""

_DAY_S = 86400.0
_SHOWN = (
    "SELECT id, at, label, confidence, coalesce(name, ''), small FROM pictures"
    " LEFT JOIN marks ON picture = id AND head = ?"
)
_ORDERS = {
    "recent": "ORDER BY id DESC",
    "unsure": "AND confidence IS NOT NULL ORDER BY confidence, id DESC",
    "marked": "AND name <> '' ORDER BY id DESC",
}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS pictures (
    id INTEGER PRIMARY KEY AUTOINCREMENT, camera TEXT NOT NULL, at REAL NOT NULL,
    key BLOB NOT NULL, label TEXT NOT NULL, confidence REAL, parts TEXT NOT NULL,
    dims TEXT NOT NULL, size INTEGER NOT NULL, features BLOB NOT NULL, small BLOB NOT NULL,
    file BLOB NOT NULL, UNIQUE (camera, key));
CREATE INDEX IF NOT EXISTS by_confidence ON pictures (camera, confidence);
CREATE INDEX IF NOT EXISTS by_time ON pictures (at);
CREATE TABLE IF NOT EXISTS marks (
    picture INTEGER NOT NULL, head TEXT NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (picture, head));
"""


class Limits(NamedTuple):
    """How much is kept; see :class:`devit_iot.config.collect.CollectConfig`."""

    last: int
    least_certain: int
    max_bytes: int
    max_days: int
    max_cameras: int


class NewPicture(NamedTuple):
    """A picture to keep.

    Attributes:
        camera: name of the camera.
        at: when it came, Unix seconds.
        key: hash of its content.
        label: what the camera's main head said; empty: nothing.
        confidence: probability of that; None: no label came.
        parts: fingerprint of the parts that made the features, 16 hex digits.
        features: per part, float32[feature_dim]; kept as float16.
        small: a small JPEG of it.
        file: the picture's file.
    """

    camera: str
    at: float
    key: bytes
    label: str
    confidence: float | None
    parts: str
    features: Sequence[NDArray[np.float32]]
    small: bytes
    file: bytes


class Kept(NamedTuple):
    """A picture as it is shown.

    Attributes:
        id: its number.
        at: when it came, Unix seconds.
        label: what the camera's main head said; empty: nothing.
        confidence: probability of that; None: no label came.
        name: class for the head in question; empty: none.
        small: a small JPEG of it.
    """

    id: int
    at: float
    label: str
    confidence: float | None
    name: str
    small: bytes


class Marked(NamedTuple):
    """The pictures of one head's classes whose features are of the same parts.

    Attributes:
        ids: numbers of the pictures.
        names: class of each.
        at: when each came, Unix seconds, float64[count].
        parts: fingerprint of the parts, 16 hex digits.
        features: per part, float32[count, feature_dim].
        others: number of pictures with a class whose features are of other parts.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]
    at: NDArray[np.float64]
    parts: str
    features: tuple[NDArray[np.float32], ...]
    others: int


class Album:
    """The pictures of a fleet's cameras, for one thread.

    Args:
        folder: folder of the file; made if it is not there.
        limits: how much is kept.

    Raises:
        DataError: from every method, if the file cannot be read or written.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._path = folder / "pictures.sqlite"
        self._limits = limits
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute("PRAGMA synchronous = NORMAL")
            self._file.execute("PRAGMA secure_delete = ON")
            self._file.execute(f"PRAGMA journal_size_limit = {4 * 2**20}")
            pages = int(_ROOM * limits.max_bytes / _PAGE) + 64
            self._file.execute(f"PRAGMA max_page_count = {pages}")
            self._file.executescript(_SCHEMA)
            rows = self._file.execute(
                "SELECT camera, count(*), sum(size) FROM pictures GROUP BY camera"
            ).fetchall()
        except (OSError, sqlite3.Error) as error:
            raise self._failed(error) from error
        self._counts = Counter({camera: count for camera, count, _ in rows})
        self._bytes: int = sum(size for _, _, size in rows)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    @property
    def size(self) -> int:
        """Bytes of what is kept."""
        return self._bytes

    def counts(self) -> dict[str, int]:
        """Number of kept pictures by camera."""
        return dict(sorted(self._counts.items()))

    def add(self, picture: NewPicture) -> bool:
        """Keep a picture, and make room for it; False if it is kept already.

        Raises:
            DataError: the limits leave no room for it, or the disk does not.
        """
        value = np.concatenate(picture.features).astype("<f2").tobytes()
        size = len(value) + len(picture.small) + len(picture.file) + 512
        known = self._ask(
            "SELECT 1 FROM pictures WHERE camera = ? AND key = ?", picture.camera, picture.key
        )
        if known:
            return False
        cameras = len(self._counts)
        if picture.camera not in self._counts and cameras >= self._limits.max_cameras:
            raise DataError(
                f"pictures of {cameras} cameras are kept, so none of a further one: raise "
                "collect.max_cameras"
            )
        self._make_room(size, picture.at)
        dims = ",".join(str(len(values)) for values in picture.features)
        self._ask(
            "INSERT INTO pictures (camera, at, key, label, confidence, parts, dims, size, features,"
            " small, file) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(picture.camera, picture.at, picture.key, picture.label, picture.confidence),
            *(picture.parts, dims, size, value, picture.small, picture.file),
        )
        self._bytes += size
        self._counts[picture.camera] += 1
        if self._counts[picture.camera] <= self._limits.last:
            return True  # all are among the latest: to look for others takes long where many are
        self._delete(
            "camera = ? AND id NOT IN (SELECT id FROM pictures WHERE camera = ? ORDER BY id DESC"
            " LIMIT ?) AND id NOT IN (SELECT id FROM pictures WHERE camera = ? AND confidence IS"
            " NOT NULL ORDER BY confidence LIMIT ?) AND id NOT IN (SELECT picture FROM marks)",
            *(picture.camera, picture.camera, self._limits.last),
            *(picture.camera, self._limits.least_certain),
        )
        return True

    def show(self, camera: str, head: str, order: str, offset: int, count: int) -> list[Kept]:
        """Some pictures of a camera; ``order`` is ``recent``, ``unsure`` or ``marked``."""
        query = f"{_SHOWN} WHERE camera = ? {_ORDERS[order]} LIMIT ? OFFSET ?"
        rows = self._ask(query, head, camera, count, offset)
        return [Kept(*row) for row in rows]

    def one(self, picture: int, head: str) -> Kept | None:
        """One picture; None if it is not kept any more."""
        rows = self._ask(f"{_SHOWN} WHERE id = ?", head, picture)
        return Kept(*rows[0]) if rows else None

    def mark(self, head: str, pictures: Sequence[int], name: str) -> None:
        """Give pictures a class for a head; an empty one takes theirs away."""
        for picture in pictures:
            self._ask("DELETE FROM marks WHERE picture = ? AND head = ?", picture, head)
            if name:
                self._ask(
                    "INSERT INTO marks SELECT id, ?, ? FROM pictures WHERE id = ?",
                    *(head, name, picture),
                )

    def delete(self, pictures: Sequence[int]) -> None:
        """Delete pictures for good, with their classes."""
        for picture in pictures:
            self._delete("id = ?", picture)

    def classes(self, head: str) -> dict[str, int]:
        """Number of marked pictures by class, for one head."""
        rows = self._ask(
            "SELECT name, count(*) FROM marks WHERE head = ? GROUP BY name ORDER BY name", head
        )
        return dict(rows)

    def marked(self, head: str) -> Marked:
        """The pictures with a class for a head; those of the parts that made the latest ones.

        Raises:
            DataError: there are none.
        """
        rows = self._ask(
            "SELECT id, name, at, parts, dims, features FROM pictures JOIN marks ON picture = id"
            " WHERE head = ? ORDER BY id",
            head,
        )
        if not rows:
            raise DataError(f"no picture has a class of head '{head}': mark some of each class")
        ((latest,),) = self._ask("SELECT parts FROM pictures ORDER BY id DESC LIMIT 1")
        same = [row for row in rows if row[3] == latest]
        if not same:
            raise DataError(
                "all marked pictures were seen by parts that the fleet has no more: mark new ones"
            )
        dims = [int(dim) for dim in same[-1][4].split(",")]
        same = [row for row in same if len(row[5]) == 2 * sum(dims)]
        values = np.stack([np.frombuffer(row[5], "<f2").astype(np.float32) for row in same])
        return Marked(
            tuple(row[0] for row in same),
            tuple(row[1] for row in same),
            np.array([row[2] for row in same], np.float64),
            latest,
            tuple(np.split(values, np.cumsum(dims)[:-1], axis=1)),
            len(rows) - len(same),
        )

    def _make_room(self, size: int, now: float) -> None:
        """Delete what is too old, then the oldest without a class until ``size`` bytes fit."""
        unmarked = "id NOT IN (SELECT picture FROM marks)"
        self._delete(f"at < ? AND {unmarked}", now - self._limits.max_days * _DAY_S)
        while self._bytes + size > self._limits.max_bytes:
            before = self._bytes
            oldest = f"SELECT id FROM pictures WHERE {unmarked} ORDER BY id LIMIT 1"  # noqa: S608
            self._delete(f"id IN ({oldest})")
            if self._bytes == before:
                raise DataError(
                    "the pictures with a class fill collect.max_mib, so no further one is kept: "
                    "raise it, or delete some"
                )

    def _delete(self, condition: str, *values: object) -> None:
        query = f"SELECT id, camera, size FROM pictures WHERE {condition}"  # noqa: S608 - our own
        for picture, camera, size in self._ask(query, *values):
            self._ask("DELETE FROM marks WHERE picture = ?", picture)
            self._ask("DELETE FROM pictures WHERE id = ?", picture)
            self._bytes -= size
            self._counts[camera] -= 1
            if not self._counts[camera]:
                del self._counts[camera]

    def _ask(self, query: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        try:
            return self._file.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> DataError:
        return DataError(
            f"cannot keep pictures in {self._path} ({error}): free some space there, or remove the "
            "file if it is damaged"
        )
