"""Features that were computed before, by the content of their pictures: an SQLite file."""

import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from devit_iot.errors import DataError

_WAIT_S = 60.0
"""For another run that writes the same file."""


def picture_key(payload: bytes) -> bytes:
    """The 16 bytes that stand for a picture's content."""
    return hashlib.blake2b(payload, digest_size=16).digest()


class FeatureCache:
    """The features of all parts of a bundle, as nodes publish them: rounded to float16.

    Args:
        folder: folder with one file for each set of parts; made if it is not there.
        parts: fingerprint of the parts, 16 hex digits.
        feature_dims: length of each part's feature.

    Raises:
        DataError: from every method, if the file cannot be read or written.
    """

    def __init__(self, folder: Path, parts: str, feature_dims: Sequence[int]) -> None:
        self._path = folder / f"{parts}.sqlite"
        self._borders = np.cumsum(feature_dims)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Every picture is kept at once, so an interrupted run loses none and holds up no other.
            self._file = sqlite3.connect(self._path, timeout=_WAIT_S, isolation_level=None)
            self._file.execute("PRAGMA synchronous = OFF")
            self._file.execute(
                "CREATE TABLE IF NOT EXISTS features (picture BLOB PRIMARY KEY, value BLOB)"
            )
        except (OSError, sqlite3.Error) as error:
            raise self._failed(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def get(self, key: bytes) -> list[NDArray[np.float32]] | None:
        """The features of a picture by part, float32[feature_dim]; None if they are not there."""
        try:
            row = self._file.execute(
                "SELECT value FROM features WHERE picture = ?", (key,)
            ).fetchone()
        except sqlite3.Error as error:
            raise self._failed(error) from error
        if row is None or len(row[0]) != 2 * self._borders[-1]:
            return None
        return self._by_part(row[0])

    def put(self, key: bytes, features: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Keep the features of a picture, and return them as :meth:`get` will."""
        value = np.concatenate(features).astype("<f2").tobytes()
        try:
            self._file.execute("INSERT OR REPLACE INTO features VALUES (?, ?)", (key, value))
        except sqlite3.Error as error:
            raise self._failed(error) from error
        return self._by_part(value)

    def _by_part(self, value: bytes) -> list[NDArray[np.float32]]:
        values = np.frombuffer(value, "<f2").astype(np.float32)
        return np.split(values, self._borders[:-1])

    def _failed(self, error: Exception) -> DataError:
        return DataError(
            f"cannot keep features in {self._path} ({error}): free some space there, remove the "
            "file if it is damaged, or name another folder with --cache"
        )
