"""What a hub serves of the owner's word, and what it does not take."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from devit_iot.bundle.signature import new_key
from devit_iot.errors import ConfigError, DevitError
from devit_iot.fleet.update_keys import UpdateKeys
from devit_iot.hub.repository import Repository
from devit_iot.trust.metadata import (
    expiry_of,
    in_days,
    sign_targets,
    sign_timestamp,
    signer_of,
    version_of,
)
from tests.support.signed_hub import allowed_of, offer, write_file

ONE, TWO, THREE = map(allowed_of, (1, 2, 3))


@pytest.fixture
def keys(tmp_path: Path) -> UpdateKeys:
    return UpdateKeys.create(tmp_path / "updates", write_file)


def hub(keys: UpdateKeys, folder: Path, root: int = -1) -> Repository:
    """A hub that was set up with one of the owner's roots and the key of now."""
    return Repository(folder / "hub/metadata", keys.roots[root], keys.hub_key)


def versions(repository: Repository, folder: Path) -> tuple[int, int, int]:
    """The versions of targets, snapshot and timestamp."""
    timestamp = repository.file("timestamp.json")
    assert timestamp is not None
    newest = max(
        int(path.name.split(".")[0]) for path in (folder / "hub/metadata").glob("*.snapshot.json")
    )
    return version_of(repository.targets), newest, version_of(timestamp)


def test_it_serves_what_was_signed_and_allows_that_only(keys: UpdateKeys, tmp_path: Path) -> None:
    repository = hub(keys, tmp_path)
    assert repository.file("timestamp.json") is None
    assert not repository.allows(offer(ONE))
    targets = keys.sign([ONE, TWO], 1)
    repository.accept(keys.roots, targets)
    assert repository.file("1.targets.json") == targets
    assert repository.file("1.root.json") == keys.roots[0]
    assert [repository.allows(offer(one)) for one in (ONE, TWO, THREE)] == [True, True, False]
    for name in ("token", "../../token", "0.root.json", "timestamp.json.partial", "hub.key"):
        assert repository.file(name) is None


def test_a_killed_hub_goes_on_with_higher_versions(keys: UpdateKeys, tmp_path: Path) -> None:
    repository = hub(keys, tmp_path)
    repository.accept(keys.roots, keys.sign([ONE], 1))
    before = versions(repository, tmp_path)
    write_file(tmp_path / "hub/metadata/2.targets.json", keys.sign([TWO], 2))  # killed just then
    again = hub(keys, tmp_path)
    after = versions(again, tmp_path)
    assert all(new > old for new, old in zip(after, before, strict=True))
    assert again.allows(offer(TWO))


def test_a_hub_that_lost_its_folder_is_not_older_than_before(
    keys: UpdateKeys, tmp_path: Path
) -> None:
    repository = hub(keys, tmp_path)
    repository.accept(keys.roots, keys.sign([ONE], 1))
    before = versions(repository, tmp_path)
    other = hub(keys, tmp_path / "other")
    other.accept(keys.roots, keys.sign([ONE], 2))
    after = versions(other, tmp_path / "other")
    assert all(new >= old for new, old in zip(after, before, strict=True))


def test_it_signs_again_before_its_word_is_out_of_date(keys: UpdateKeys, tmp_path: Path) -> None:
    repository = hub(keys, tmp_path)
    repository.accept(keys.roots, keys.sign([ONE], 1))
    path = tmp_path / "hub/metadata/timestamp.json"
    fresh = repository.file("timestamp.json")
    assert repository.file("timestamp.json") == fresh  # it lives for a day
    (snapshot,) = (tmp_path / "hub/metadata").glob("*.snapshot.json")
    old = sign_timestamp(7, snapshot.read_bytes(), signer_of(keys.hub_key), in_days(0.4))
    path.write_bytes(old)
    renewed = repository.file("timestamp.json")
    assert renewed is not None
    assert version_of(renewed) > 7
    assert expiry_of(renewed) - expiry_of(old) > timedelta(hours=12)


def not_newer(keys: UpdateKeys, _folder: Path) -> tuple[list[bytes], bytes]:
    return keys.roots, keys.sign([TWO], 1)


def by_somebody_else(keys: UpdateKeys, _folder: Path) -> tuple[list[bytes], bytes]:
    return keys.roots, sign_targets(2, [TWO], signer_of(new_key()), in_days(9))


def by_the_hub(keys: UpdateKeys, _folder: Path) -> tuple[list[bytes], bytes]:
    return keys.roots, sign_targets(2, [TWO], signer_of(keys.hub_key), in_days(9))


def another_fleet(_keys: UpdateKeys, folder: Path) -> tuple[list[bytes], bytes]:
    other = UpdateKeys.create(folder / "other", write_file)
    return other.roots, other.sign([TWO], 2)


def without_this_hub(keys: UpdateKeys, _folder: Path) -> tuple[list[bytes], bytes]:
    keys.rotate("hub")
    return keys.roots, keys.sign([TWO], 2)


def a_root_left_out(keys: UpdateKeys, _folder: Path) -> tuple[list[bytes], bytes]:
    keys.rotate("targets")
    keys.rotate("targets")
    return [keys.roots[0], keys.roots[2]], keys.sign([TWO], 2)


def rubbish(keys: UpdateKeys, _folder: Path) -> tuple[list[bytes], bytes]:
    return keys.roots, b"{}"


def no_root(keys: UpdateKeys, _folder: Path) -> tuple[list[bytes], bytes]:
    return [], keys.sign([TWO], 2)


@pytest.mark.parametrize(
    ("signed", "error"),
    [
        (not_newer, "signed meanwhile"),
        (by_somebody_else, "not signed by the key"),
        (by_the_hub, "not signed by the key"),
        (another_fleet, "not of the fleet"),
        (without_this_hub, "another key of the hub"),
        (a_root_left_out, "root 3 comes after root 1"),
        (rubbish, "not signed by the key"),
        (no_root, "there is no root"),
    ],
)
def test_what_it_does_not_take_changes_nothing(
    keys: UpdateKeys,
    tmp_path: Path,
    signed: Callable[[UpdateKeys, Path], tuple[list[bytes], bytes]],
    error: str,
) -> None:
    repository = hub(keys, tmp_path)
    repository.accept(keys.roots, keys.sign([ONE], 1))
    before = {path: path.read_bytes() for path in (tmp_path / "hub/metadata").iterdir()}
    with pytest.raises(DevitError, match=error):
        repository.accept(*signed(keys, tmp_path))
    assert {path: path.read_bytes() for path in (tmp_path / "hub/metadata").iterdir()} == before


def test_a_hub_that_got_another_key_goes_on(keys: UpdateKeys, tmp_path: Path) -> None:
    first = hub(keys, tmp_path)
    first.accept(keys.roots, keys.sign([ONE], 1))
    before = versions(first, tmp_path)
    keys.rotate("hub")
    with pytest.raises(ConfigError, match="not the hub's key that the root names"):
        hub(keys, tmp_path, 0)
    second = hub(keys, tmp_path)
    assert second.allows(offer(ONE))
    assert versions(second, tmp_path)[1] > before[1]
    second.accept(keys.roots, keys.sign([TWO], 2))


def test_a_hub_of_a_new_root_begins_anew(keys: UpdateKeys, tmp_path: Path) -> None:
    hub(keys, tmp_path).accept(keys.roots, keys.sign([ONE], 1))
    other = UpdateKeys.create(tmp_path / "other", write_file)
    repository = hub(other, tmp_path)
    assert not repository.allows(offer(ONE))
    repository.accept(other.roots, other.sign([TWO], 1))
    assert repository.allows(offer(TWO))


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xff"])
def test_a_damaged_root_or_key_is_one_clear_line(
    keys: UpdateKeys, tmp_path: Path, content: bytes
) -> None:
    with pytest.raises(ConfigError, match=r"updates\.root_file"):
        Repository(tmp_path / "hub", content, keys.hub_key)
    with pytest.raises(ConfigError, match="no private key"):
        Repository(tmp_path / "hub", keys.roots[0], content)
