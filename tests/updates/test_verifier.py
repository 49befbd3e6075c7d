"""What a member installs by the owner's word, and what it refuses, whoever has the hub."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from devit_iot.bundle.signature import new_key
from devit_iot.errors import ConfigError
from devit_iot.fleet.update_keys import KeyRole, UpdateKeys
from devit_iot.trust.metadata import in_days, sign_targets, signer_of, version_of
from devit_iot.updates.fetch import Fetcher, FetchError
from devit_iot.updates.verifier import NotAllowedError, Verifier
from tests.support.signed_hub import SignedHub, allowed_of, offer, write_file

ONE, TWO, THREE = map(allowed_of, (1, 2, 3))


@pytest.fixture
def keys(tmp_path: Path) -> UpdateKeys:
    return UpdateKeys.create(tmp_path / "updates", write_file)


@pytest.fixture
def hub(keys: UpdateKeys) -> Iterator[SignedHub]:
    with SignedHub(keys) as hub:
        yield hub


def member(folder: Path, root: bytes, clock_counts: Callable[[], bool] = lambda: True) -> Verifier:
    return Verifier(folder / "store/metadata", root, Fetcher(None, 5.0), clock_counts)


@pytest.fixture
def board(tmp_path: Path, keys: UpdateKeys) -> Verifier:
    """Set up with the first root; its clock is right."""
    return member(tmp_path, keys.roots[0])


def test_what_the_owner_allows_is_installed_and_nothing_else(
    hub: SignedHub, board: Verifier
) -> None:
    hub.allow([ONE, TWO])
    board.check(hub.url, offer(ONE))
    board.check(hub.url, offer(TWO))  # the hub may choose: that is a rollback
    with pytest.raises(NotAllowedError, match="does not allow bundle 0000000000000003"):
        board.check(hub.url, offer(THREE))
    for change in ({"manifest": "ab" * 32}, {"manifest_size": 7}):
        with pytest.raises(NotAllowedError, match="another manifest"):
            board.check(hub.url, msgspec.structs.replace(offer(ONE), **change))


def test_a_wrong_signature_is_refused(hub: SignedHub, board: Verifier) -> None:
    hub.allow([ONE])
    board.check(hub.url, offer(ONE))
    hub.say(hub.keys.sign([ONE, TWO], 9).replace(b'"sig":"', b'"sig":"0', 1))
    with pytest.raises(NotAllowedError, match="not by the fleet's owner"):
        board.check(hub.url, offer(ONE))


@pytest.mark.parametrize("version", [2, 2**31])
def test_a_stolen_hub_key_installs_nothing(hub: SignedHub, board: Verifier, version: int) -> None:
    hub.allow([ONE])
    board.check(hub.url, offer(ONE))
    for thief in (hub.signer, signer_of(new_key())):
        hub.say(sign_targets(version, [THREE], thief, in_days(9)))
        with pytest.raises(NotAllowedError, match="not by the fleet's owner"):
            board.check(hub.url, offer(THREE))


def test_what_is_no_longer_allowed_does_not_come_back(hub: SignedHub, board: Verifier) -> None:
    """With the hub's key too: it signs the old targets as the latest."""
    old = hub.allow([ONE])
    before = dict(hub.metadata)
    hub.allow([TWO])
    board.check(hub.url, offer(TWO))
    hub.say(old)
    with pytest.raises(NotAllowedError, match="older than what was seen here"):
        board.check(hub.url, offer(ONE))
    hub.metadata = before
    with pytest.raises(NotAllowedError, match="older than what was seen here"):
        board.check(hub.url, offer(ONE))


def test_a_board_that_starts_again_remembers(
    hub: SignedHub, tmp_path: Path, keys: UpdateKeys
) -> None:
    old = hub.allow([ONE])
    hub.allow([TWO])
    member(tmp_path, keys.roots[0]).check(hub.url, offer(TWO))
    hub.say(old)
    with pytest.raises(NotAllowedError, match="older than what was seen here"):
        member(tmp_path, keys.roots[0]).check(hub.url, offer(ONE))


def test_files_of_two_days_do_not_mix(hub: SignedHub, board: Verifier) -> None:
    old = hub.allow([ONE])
    new = hub.allow([TWO])
    latest = dict(hub.metadata)
    hub.metadata[f"{version_of(new)}.targets.json"] = old
    with pytest.raises(NotAllowedError):
        board.check(hub.url, offer(ONE))
    hub.metadata = latest | {"2.snapshot.json": latest["1.snapshot.json"]}
    with pytest.raises(NotAllowedError):
        board.check(hub.url, offer(ONE))
    hub.metadata = latest
    board.check(hub.url, offer(TWO))


def test_frozen_metadata_counts_until_it_is_out_of_date(
    hub: SignedHub, tmp_path: Path, keys: UpdateKeys
) -> None:
    clock = [False]
    board = member(tmp_path, keys.roots[0], lambda: clock[0])
    targets = hub.allow([ONE])
    hub.say(targets, in_days(-1))
    board.check(hub.url, offer(ONE))  # without a clock nobody is locked out
    clock[0] = True
    with pytest.raises(NotAllowedError, match=r"out of date \(timestamp"):
        board.check(hub.url, offer(ONE))
    hub.say(targets)
    board.check(hub.url, offer(ONE))
    hub.allow([ONE], days=-1)  # the owner's part is out of date
    with pytest.raises(NotAllowedError, match=r"out of date .*targets.*devit fleet sign"):
        board.check(hub.url, offer(ONE))


@pytest.mark.parametrize("role", ["root", "targets", "hub"])
def test_a_board_follows_new_keys_and_forgets_the_old_ones(
    hub: SignedHub, board: Verifier, tmp_path: Path, role: KeyRole
) -> None:
    hub.allow([ONE])
    board.check(hub.url, offer(ONE))
    old_hub, old_targets = (
        signer_of((tmp_path / f"updates/{name}-1.key").read_bytes()) for name in ("hub", "targets")
    )
    for _ in range(3):
        hub.keys.rotate(role)
    hub.signer = signer_of(hub.keys.hub_key)
    hub.allow([TWO])
    board.check(hub.url, offer(TWO))
    if role == "targets":
        hub.say(sign_targets(99, [ONE, THREE], old_targets, in_days(9)))
        with pytest.raises(NotAllowedError, match="not by the fleet's owner"):
            board.check(hub.url, offer(THREE))
    if role == "hub":
        hub.signer = old_hub
        hub.allow([TWO])
        with pytest.raises(NotAllowedError, match="not by the fleet's owner"):
            board.check(hub.url, offer(TWO))


def test_versions_that_a_thief_made_huge_end_with_the_thief_s_key(
    hub: SignedHub, board: Verifier
) -> None:
    targets = hub.allow([ONE])
    hub.version = 2**40
    hub.say(targets)
    board.check(hub.url, offer(ONE))
    hub.say(sign_targets(2**41, [THREE], hub.signer, in_days(9)))
    with pytest.raises(NotAllowedError):
        board.check(hub.url, offer(THREE))
    hub.say(targets)
    with pytest.raises(NotAllowedError, match="older than what was seen here"):
        board.check(hub.url, offer(ONE))
    hub.keys.rotate("hub")
    hub.signer = signer_of(hub.keys.hub_key)
    hub.version = 7
    hub.allow([ONE, TWO])
    board.check(hub.url, offer(TWO))


def test_a_root_of_somebody_else_is_refused(
    hub: SignedHub, board: Verifier, tmp_path: Path
) -> None:
    hub.allow([ONE])
    other = UpdateKeys.create(tmp_path / "other", write_file)
    other.rotate("targets")
    hub.metadata["2.root.json"] = other.roots[1]
    with pytest.raises(NotAllowedError, match="not by the fleet's owner"):
        board.check(hub.url, offer(ONE))


def test_a_lost_root_key_is_replaced_by_the_spare_one(
    hub: SignedHub, board: Verifier, tmp_path: Path
) -> None:
    (tmp_path / "updates/root-1.key").unlink()
    keys = UpdateKeys(tmp_path / "updates", write_file)
    assert keys.rotate("root") == 2
    assert {"root-2.key", "spare-2.key"} <= {p.name for p in (tmp_path / "updates").iterdir()}
    assert not (tmp_path / "updates/spare-1.key").exists()
    hub.keys = keys
    hub.allow([TWO])
    board.check(hub.url, offer(TWO))


def test_without_any_root_key_boards_are_set_up_anew(hub: SignedHub, tmp_path: Path) -> None:
    hub.allow([ONE])
    first = member(tmp_path, hub.keys.roots[0])
    first.check(hub.url, offer(ONE))
    for name in ("root-1.key", "spare-1.key"):
        (tmp_path / "updates" / name).unlink()
    with pytest.raises(ConfigError, match="When a key is lost"):
        UpdateKeys(tmp_path / "updates", write_file).rotate("root")
    with SignedHub(UpdateKeys.create(tmp_path / "new", write_file)) as other:
        other.allow([TWO])
        with pytest.raises(NotAllowedError):
            first.check(other.url, offer(TWO))
        anew = member(tmp_path, other.keys.roots[0])  # the same store, another root
        anew.check(other.url, offer(TWO))
        with pytest.raises(NotAllowedError):
            anew.check(hub.url, offer(ONE))


def test_a_hub_that_is_away_is_waited_for_but_what_was_seen_counts(
    hub: SignedHub, board: Verifier
) -> None:
    hub.down = True
    with pytest.raises(FetchError):
        board.check(hub.url, offer(ONE))
    hub.down = False
    hub.allow([ONE])
    board.check(hub.url, offer(ONE))
    hub.down = True
    board.check(hub.url, offer(ONE))
    with pytest.raises(FetchError):
        board.check(hub.url, offer(TWO))


def test_a_hub_without_metadata_says_so(hub: SignedHub, board: Verifier) -> None:
    with pytest.raises(NotAllowedError, match="nothing that the fleet's owner signed"):
        board.check(hub.url, offer(ONE))


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"signed": {}}', b"\xff", b" " * 2**19])
@pytest.mark.parametrize("name", ["timestamp.json", "1.snapshot.json", "1.targets.json"])
def test_rubbish_is_refused(hub: SignedHub, board: Verifier, name: str, content: bytes) -> None:
    hub.allow([ONE])
    hub.metadata[name] = content
    with pytest.raises(NotAllowedError):
        board.check(hub.url, offer(ONE))


@pytest.mark.parametrize("root", [b"", b"{}", b"\x00"])
def test_a_root_file_that_is_none_is_one_clear_line(tmp_path: Path, root: bytes) -> None:
    with pytest.raises(ConfigError, match=r"updates\.root_file is no root of trust"):
        member(tmp_path, root)
