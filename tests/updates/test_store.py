"""What survives a power cut, and what a process that starts serves."""

from pathlib import Path

import pytest

from devit_iot.errors import ConfigError
from devit_iot.updates.store import MAX_STARTS, Held, Store

OLD = Held(1, "1" * 16, 0, 2)
NEW = Held(2, "2" * 16, 0, 2)


def store_with_trial(path: Path) -> Store:
    store = Store(path)
    store.settle(OLD)
    store.put_on_trial(NEW)
    return store


def test_a_new_store_serves_nothing(tmp_path: Path) -> None:
    assert Store(tmp_path / "new" / "store").begin() is None


def test_what_is_on_trial_is_served_a_few_times_then_the_old_one(tmp_path: Path) -> None:
    store_with_trial(tmp_path)
    for _ in range(MAX_STARTS):
        assert Store(tmp_path).begin() == NEW  # the process ended without a word
    again = Store(tmp_path)
    assert again.begin() == OLD
    assert "3 times" in again.failure(NEW.number)
    assert Store(tmp_path).begin() == OLD


def test_being_told_to_end_says_nothing_against_a_trial(tmp_path: Path) -> None:
    store_with_trial(tmp_path)
    for _ in range(2 * MAX_STARTS):
        store = Store(tmp_path)
        assert store.begin() == NEW
        store.ended_cleanly()


def test_a_good_release_is_no_trial_any_more(tmp_path: Path) -> None:
    store_with_trial(tmp_path).settle(NEW)
    for _ in range(2 * MAX_STARTS):
        assert Store(tmp_path).begin() == NEW
    assert Store(tmp_path).state.old == OLD


def test_what_cannot_be_loaded_gives_way_to_what_was_good(tmp_path: Path) -> None:
    store = store_with_trial(tmp_path)
    assert store.reject(NEW, "damaged") == OLD
    assert store.failure(NEW.number) == "damaged"
    assert store.reject(OLD, "damaged too") is None
    assert Store(tmp_path).begin() is None
    assert store.failure(OLD.number) == ""  # it is fetched again


def test_only_bundles_that_may_be_served_stay(tmp_path: Path) -> None:
    store = store_with_trial(tmp_path)
    for fingerprint in ("0" * 16, OLD.fingerprint, NEW.fingerprint, "3" * 16):
        store.folder(fingerprint).mkdir()
    store.keep(["3" * 16])
    assert not store.folder("0" * 16).exists()
    store.settle(NEW)
    store.keep([])
    assert store.folder(OLD.fingerprint).exists()  # for a rollback
    assert not store.folder("3" * 16).exists()


def test_an_installation_that_never_ends_is_counted(tmp_path: Path) -> None:
    for before in range(3):
        assert Store(tmp_path).begin_install(7) == before
    assert Store(tmp_path).begin_install(8) == 0
    store = Store(tmp_path)
    store.end_install()
    assert Store(tmp_path).begin_install(8) == 0


@pytest.mark.parametrize("content", [b"", b"{", b'{"good": 7}', b"\xff"])
def test_a_damaged_state_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.json").write_bytes(content)
    with pytest.raises(ConfigError, match="delete"):
        Store(tmp_path)


def test_a_half_written_state_is_the_one_before(tmp_path: Path) -> None:
    store_with_trial(tmp_path)
    (tmp_path / "state.json.partial").write_bytes(b"{")
    assert Store(tmp_path).begin() == NEW


def test_a_folder_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot use the store"):
        Store(tmp_path / "file")
