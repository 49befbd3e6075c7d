"""One file by HTTP: cut anywhere, changed, missing, on a full disk."""

import errno
import hashlib
import os
import random
from pathlib import Path

import pytest

from devit_iot.bundle.manifest import FileEntry
from devit_iot.updates.fetch import BusyError, ContentError, Fetcher, FetchError
from tests.updates.cutting_server import CuttingServer

CONTENT = random.Random(1).randbytes(200_000)
ENTRY = FileEntry("f", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def ignore(_done: int) -> None:
    """Nobody looks at the progress."""


def fetch_from(server: CuttingServer, path: Path, entry: FileEntry = ENTRY) -> None:
    Fetcher(None, timeout_s=5.0).fetch(server.url, entry, path, on_bytes=ignore)


@pytest.mark.parametrize("seed", range(5))
def test_a_download_that_is_cut_goes_on_where_it_was(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    cuts = [rng.choice([0, 1, rng.randrange(len(CONTENT) // 4)]) for _ in range(3)]
    with CuttingServer(CONTENT, cuts) as server:
        for _ in cuts:
            with pytest.raises(FetchError, match="cut"):
                fetch_from(server, tmp_path / "f")
            assert not (tmp_path / "f").exists()
        fetch_from(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert server.sent == len(CONTENT)  # no byte came twice
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_file_that_changed_on_the_hub_is_never_taken(tmp_path: Path) -> None:
    changed = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with CuttingServer(changed) as server:
        with pytest.raises(ContentError, match="SHA-256"):
            fetch_from(server, tmp_path / "f")
        assert list(tmp_path.iterdir()) == []
        server.content = CONTENT
        fetch_from(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_file_that_changed_while_it_was_cut_is_never_taken(tmp_path: Path) -> None:
    with CuttingServer(CONTENT, [1000]) as server:
        with pytest.raises(FetchError):
            fetch_from(server, tmp_path / "f")
        server.content = bytes(len(CONTENT))
        with pytest.raises(ContentError):
            fetch_from(server, tmp_path / "f")
        assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_too_long_is_cut_short(tmp_path: Path) -> None:
    with (
        CuttingServer(CONTENT + bytes(10**6)) as server,
        pytest.raises(ContentError, match="longer"),
    ):
        fetch_from(server, tmp_path / "f")


@pytest.mark.parametrize(
    ("status", "error"), [(503, BusyError), (404, ContentError), (500, FetchError)]
)
def test_what_the_hub_refuses_is_told_apart(
    tmp_path: Path, status: int, error: type[Exception]
) -> None:
    with CuttingServer(CONTENT) as server:
        server.status = status
        with pytest.raises(error):
            fetch_from(server, tmp_path / "f")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://[", "nonsense", "http://h:port"])
def test_a_hub_that_cannot_be_reached_is_tried_again(tmp_path: Path, url: str) -> None:
    with pytest.raises(FetchError):
        Fetcher(None, timeout_s=5.0).fetch(url, ENTRY, tmp_path / "f", on_bytes=ignore)


def test_a_full_disk_is_said_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with CuttingServer(CONTENT) as server, pytest.raises(OSError, match="No space left"):
        fetch_from(server, tmp_path / "f")


def test_a_folder_that_cannot_be_written_is_no_fault_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "f.partial").mkdir()
    with CuttingServer(CONTENT) as server, pytest.raises(OSError, match="directory"):
        fetch_from(server, tmp_path / "f", FileEntry("f", 10**9, ENTRY.sha256))
