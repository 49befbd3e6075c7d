"""What an album keeps, and how it stays within its limits."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devit_iot.collect.album import Album, Limits, NewPicture
from devit_iot.errors import DataError

DIMS = (4, 6)
LIMITS = Limits(last=5, least_certain=3, max_bytes=2**20, max_days=10, max_cameras=3)
PARTS = "0123456789abcdef"


def new(number: int, **changes: Any) -> NewPicture:  # noqa: ANN401 - of any field
    """Each is surer than the one before, unless told otherwise."""
    rng = np.random.default_rng(number)
    picture = NewPicture(
        camera="door",
        at=1_777_600_000.0 + number,
        key=number.to_bytes(16),
        label="cat",
        confidence=min(1.0, number / 1000),
        parts=PARTS,
        features=[rng.standard_normal(dim).astype(np.float32) for dim in DIMS],
        small=b"small",
        file=b"x" * 100,
    )
    return picture._replace(**changes)


@pytest.fixture
def album(tmp_path: Path) -> Iterator[Album]:
    album = Album(tmp_path / "kept", LIMITS)
    yield album
    album.close()


def ids(album: Album, order: str = "recent", camera: str = "door") -> list[int]:
    return [kept.id for kept in album.show(camera, "gate", order, 0, 100)]


def test_the_last_and_the_least_certain_stay(album: Album) -> None:
    for number in range(1, 21):
        assert album.add(new(number))
    assert ids(album) == [20, 19, 18, 17, 16, 3, 2, 1]
    assert ids(album, "unsure")[:4] == [1, 2, 3, 16]
    assert album.counts() == {"door": 8}


def test_what_has_a_class_stays_and_is_shown_with_it(album: Album) -> None:
    for number in range(1, 11):
        album.add(new(number))
    album.mark("gate", [10, 9], "open")
    album.mark("gate", [8], "closed")
    album.mark("post", [8], "empty")
    for number in range(11, 31):
        album.add(new(number))
    assert {8, 9, 10} <= set(ids(album))
    assert ids(album, "marked") == [10, 9, 8]
    assert album.classes("gate") == {"closed": 1, "open": 2}
    marked = album.marked("gate")
    assert (marked.ids, marked.names, marked.others) == ((8, 9, 10), ("closed", "open", "open"), 0)
    wanted = [values.astype(np.float16).astype(np.float32) for values in new(9).features]
    for found, value in zip(marked.features, wanted, strict=True):
        assert np.array_equal(found[1], value)
    album.mark("gate", [10], "")
    assert album.classes("gate") == {"closed": 1, "open": 1}
    album.mark("gate", [9], "closed")
    assert album.classes("gate") == {"closed": 2}
    album.delete([8, 9])
    assert album.classes("gate") == {}
    assert album.classes("post") == {}


def test_the_same_content_is_kept_once(album: Album) -> None:
    assert album.add(new(1))
    assert not album.add(new(1, at=0.0))
    assert album.add(new(1, camera="hall"))


def test_a_further_camera_is_refused_and_the_others_go_on(album: Album) -> None:
    for camera in "abc":
        album.add(new(1, camera=camera))
    with pytest.raises(DataError, match=r"collect\.max_cameras"):
        album.add(new(1, camera="d"))
    assert album.add(new(2, camera="a"))
    album.delete([1])
    album.delete([4])
    assert album.add(new(1, camera="d"))


def test_old_pictures_go_and_those_with_a_class_stay(album: Album) -> None:
    album.add(new(1))
    album.add(new(2))
    album.mark("gate", [1], "open")
    album.add(new(3, at=new(3).at + 11 * 86400))
    assert ids(album) == [3, 1]


def test_the_size_is_bounded_and_classes_are_not_lost(tmp_path: Path) -> None:
    limits = LIMITS._replace(last=10_000, max_bytes=100_000)
    album = Album(tmp_path, limits)
    for number in range(1, 101):
        album.add(new(number, file=b"x" * 5000))
        assert album.size <= limits.max_bytes
    assert 10 < len(ids(album)) < 20
    kept = ids(album)
    album.mark("gate", kept, "open")
    with pytest.raises(DataError, match=r"fill collect\.max_mib"):
        album.add(new(101, file=b"x" * 50_000))
    assert set(kept) <= set(ids(album))
    album.delete(kept[:5])
    assert album.add(new(130, file=b"x" * 5000))
    album.close()
    again = Album(tmp_path, limits)
    assert set(kept[5:]) <= set(ids(again))
    assert again.size <= limits.max_bytes
    again.close()


def test_many_pictures_of_many_cameras_take_a_bounded_file(tmp_path: Path) -> None:
    limits = LIMITS._replace(last=20, max_cameras=4)
    album = Album(tmp_path, limits)
    for number in range(2000):
        album.add(new(number, camera=f"camera-{number % 4}", file=b"x" * 3000))
    assert album.counts() == {f"camera-{index}": 23 for index in range(4)}
    album.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2**21


def test_a_full_disk_is_said_and_what_is_kept_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's own limit stands for a full disk: the error is of the same kind."""
    connect = sqlite3.connect

    class Small(sqlite3.Connection):
        def execute(self, query: str, *values: Any) -> sqlite3.Cursor:  # noqa: ANN401
            if "max_page_count" in query:
                query = "PRAGMA max_page_count = 12"
            return super().execute(query, *values)

    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, factory=Small, **k))
    album = Album(tmp_path, LIMITS)
    album.add(new(1))
    with pytest.raises(DataError, match=r"full.*free some space there"):
        album.add(new(2, file=b"x" * 100_000))
    assert ids(album) == [1]
    assert album.add(new(3))


@pytest.mark.parametrize("damage", ["rubbish", "folder"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "pictures.sqlite"
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"no database, but longer than the header of one" * 50)
    with pytest.raises(DataError, match=r"pictures\.sqlite.*remove the file if it is damaged"):
        Album(tmp_path, LIMITS)


def test_pictures_of_other_parts_are_left_out(album: Album) -> None:
    for number in range(1, 4):
        album.add(new(number))
    album.mark("gate", [1, 2, 3], "open")
    album.add(new(4, parts="f" * 16))
    with pytest.raises(DataError, match="parts that the fleet has no more"):
        album.marked("gate")
    album.mark("gate", [4], "closed")
    marked = album.marked("gate")
    assert (marked.ids, marked.parts, marked.others) == ((4,), "f" * 16, 3)
    with pytest.raises(DataError, match="no picture has a class of head 'post'"):
        album.marked("post")


def test_only_its_owner_reads_the_folder(tmp_path: Path, album: Album) -> None:
    assert album.counts() == {}
    assert (tmp_path / "kept").stat().st_mode & 0o077 == 0
