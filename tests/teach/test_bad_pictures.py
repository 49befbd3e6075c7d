"""Pictures from which nothing can be learnt, or not enough: one line, and the old head goes on."""

import errno
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devit_iot.bundle import head_writing
from devit_iot.bundle.head import head_names, read_head
from devit_iot.bundle.reading import Bundle
from tests.support.fleets import image_file, make_bundle
from tests.teach.pictures import failure, photos, picture, run, teach


def no_picture(path: Path) -> None:
    (path / "open").mkdir(parents=True)


def two_pictures(path: Path) -> None:
    photos(path, {"closed": 1, "open": 1})


def one_class(path: Path) -> None:
    photos(path, {"open": 9})


def same_frame(path: Path) -> None:
    photos(path, {"closed": 9})
    (path / "open").mkdir()
    for number in range(9):
        (path / "open" / f"{number}.png").write_bytes(picture("open", 1))


def one_moment(path: Path) -> None:
    photos(path, {"closed": 9})
    (path / "open").mkdir()
    for number in range(9):
        (path / "open" / f"20260501-1200{number:02d}.png").write_bytes(picture("open", number))


def nearly_the_same_frame(path: Path) -> None:
    photos(path, {"closed": 9})
    (path / "open").mkdir()
    for number in range(9):
        (path / "open" / f"{number}.png").write_bytes(picture("open", number, noise=1))


def in_two_classes(path: Path) -> None:
    photos(path, {"closed": 9, "open": 9})
    shutil.copy(next((path / "open").iterdir()), path / "closed/copy.png")


def all_damaged(path: Path) -> None:
    photos(path, {"closed": 9, "open": 9})
    for file in (path / "open").iterdir():
        file.write_bytes(file.read_bytes()[:60])


def nothing_readable(path: Path) -> None:
    photos(path, {"closed": 2, "open": 2})
    for file in path.rglob("*.png"):
        file.write_bytes(b"\x89PNG no picture")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (no_picture, "holds no class/image file"),
        (two_pictures, "class 'closed' has one picture: 2 of different moments are the least"),
        (one_class, "has only the class 'open': make one folder for each class, two at least"),
        (same_frame, "class 'open' has one picture (the others are the very same bytes)"),
        (one_moment, "all 9 pictures of class 'open' are of one moment"),
        (nearly_the_same_frame, "all 9 pictures of class 'open' are of one moment"),
        (in_two_classes, "are the same picture in the classes 'closed' and 'open'"),
        (all_damaged, "no picture of class 'open' could be read: open/door-"),
        (nothing_readable, "could be read, the first one is closed/door-"),
    ],
)
def test_one_line_says_what_is_wrong(
    fleet: Bundle, tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    assert teach(fleet, photos(tmp_path / "good", {"closed": 5, "open": 5})).exit_code == 0
    before = read_head(fleet, "gate").version
    make(tmp_path / "bad")
    assert said in failure(teach(fleet, tmp_path / "bad"))
    assert read_head(fleet, "gate").version == before


def test_the_way_out_of_one_moment_is_to_say_so(fleet: Bundle, tmp_path: Path) -> None:
    one_moment(tmp_path / "photos")
    assert "--gap 0" in failure(teach(fleet, tmp_path / "photos"))
    assert teach(fleet, tmp_path / "photos", "--gap", "0").exit_code == 0
    assert teach(fleet, tmp_path / "photos", "--gap", "0.5").exit_code == 0


def test_a_damaged_picture_is_named_and_left_out(fleet: Bundle, tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", {"closed": 6, "open": 6})
    (data / "open/cut.png").write_bytes(picture("open", 70)[:100])
    (data / "open/rubbish.jpg").write_bytes(b"no picture")
    (data / "open/empty.webp").write_bytes(b"")
    said = teach(fleet, data)
    assert said.exit_code == 0
    for name in ("cut.png", "rubbish.jpg", "empty.webp"):
        assert sum(f"open/{name}: " in line for line in said.stderr.splitlines()) == 1
    assert "3 pictures could not be read" in (tmp_path / "report/report.md").read_text()


def test_pictures_of_any_size_are_taken(fleet: Bundle, tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", {"closed": 6, "open": 6})
    for number, size in enumerate(((900, 30), (12, 12), (31, 400))):
        (data / "open" / f"odd-{number}.jpg").write_bytes(
            image_file(number, kind="JPEG", size=size)
        )
    assert teach(fleet, data).exit_code == 0


@pytest.mark.parametrize("name", ["default", "a/b", "..", "", "gate.1", "x" * 65])
def test_a_name_that_no_head_can_have(fleet: Bundle, tmp_path: Path, name: str) -> None:
    data = photos(tmp_path / "photos", {"closed": 2, "open": 2})
    assert "name" in failure(teach(fleet, data, name=name))
    assert not (tmp_path / "cache").is_dir() or head_names(fleet) == ("default",)


def test_a_class_name_that_cannot_be_printed(fleet: Bundle, tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", {"closed": 3, "open": 3})
    (data / "open").rename(data / "o\u202epen")
    assert "a name cannot be printed" in failure(teach(fleet, data))
    assert head_names(fleet) == ("default",)


def test_features_of_other_parts_are_not_taken_from_the_cache(
    fleet: Bundle, tmp_path: Path
) -> None:
    data = photos(tmp_path / "photos", {"closed": 4, "open": 4})
    assert teach(fleet, data).exit_code == 0
    other = make_bundle(tmp_path / "other", seed=1)
    said = teach(other, data)
    assert "for 8 new features" in said.output
    shutil.copytree(fleet.path / "heads/gate", other.path / "heads/door")
    evaluated = run("evaluate", other.path, "--head", "door", "--data", data)
    assert "belongs to parts" in failure(evaluated)


def test_a_full_disk_leaves_the_old_head(
    fleet: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photos(tmp_path / "photos", {"closed": 4, "open": 4})
    assert teach(fleet, data).exit_code == 0
    before = read_head(fleet, "gate").version

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(head_writing, "_write_file", full)
    photos(data, {"open": 2}, first=20)
    assert "No space left on device" in failure(teach(fleet, data))
    assert read_head(fleet, "gate").version == before


def test_a_cache_that_cannot_grow_is_named(
    fleet: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's own limit stands for a full disk: the error is of the same kind."""
    connect = sqlite3.connect

    def small(path: Path, **options: Any) -> sqlite3.Connection:  # noqa: ANN401
        connection: sqlite3.Connection = connect(path, **options)
        connection.execute("PRAGMA max_page_count = 3")
        return connection

    monkeypatch.setattr(sqlite3, "connect", small)
    data = photos(tmp_path / "photos", {"closed": 40, "open": 40})
    said = failure(teach(fleet, data))
    assert "database or disk is full" in said
    assert "name another folder with --cache" in said


@pytest.mark.parametrize("damage", ["rubbish", "folder"])
def test_a_damaged_cache_is_named(fleet: Bundle, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "cache" / f"{fleet.parts_fingerprint.hex()}.sqlite"
    path.parent.mkdir()
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"no database, but longer than the header of one" * 50)
    data = photos(tmp_path / "photos", {"closed": 2, "open": 2})
    assert str(path) in failure(teach(fleet, data))


def test_a_cached_feature_of_another_length_is_computed_again(
    fleet: Bundle, tmp_path: Path
) -> None:
    data = photos(tmp_path / "photos", {"closed": 4, "open": 4})
    teach(fleet, data)
    (path,) = (tmp_path / "cache").iterdir()
    with sqlite3.connect(path) as file:
        file.execute("UPDATE features SET value = x'00' WHERE rowid = 3")
    file.close()
    said = teach(fleet, data)
    assert "for 1 new features" in said.output


def test_without_scikit_learn_one_line_says_how_to_get_it(
    fleet: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the features are computed, which may take minutes."""
    data = photos(tmp_path / "photos", {"closed": 2, "open": 2})
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "sklearn.linear_model", None)
        assert "pip install 'devit-iot[teach]'" in failure(teach(fleet, data))
    assert "for 4 new features" in teach(fleet, data).output


def test_a_report_that_cannot_be_written_is_named(fleet: Bundle, tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", {"closed": 3, "open": 3})
    (tmp_path / "report").write_text("a file where the folder should be")
    assert "cannot write the report" in failure(teach(fleet, data))
    assert head_names(fleet) == ("default", "gate")
