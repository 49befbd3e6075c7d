"""`devit fleet` and the keys of releases: who gets which, and what a lost one costs."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from devit_iot.cli.devit import main
from devit_iot.config.config import load_config
from devit_iot.errors import ConfigError
from devit_iot.fleet.folder import FleetFolder, FleetState
from devit_iot.fleet.parcel import MAX_LINE, paste_line
from devit_iot.trust.metadata import check_chain, signer_of, version_of


@pytest.fixture
def made(tmp_path: Path) -> FleetFolder:
    made = FleetFolder.create(tmp_path / "fleet", FleetState("home", ("hub.local",)))
    made.add("hub", "hub")
    made.add("pi-0", "node", 0)
    return made


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["fleet", *map(str, arguments)])


def root_at(made: FleetFolder, name: str) -> bytes:
    """The root that a client's configuration names."""
    config = load_config([made.path / "clients" / name / "devit.toml"], {})
    return Path(config.updates.root_file).read_bytes()


def test_the_root_comes_with_the_set_up_and_private_keys_stay(made: FleetFolder) -> None:
    keys = made.update_keys
    assert keys is not None
    secrets = {path.name: path.read_bytes() for path in (made.path / "updates").glob("*.key")}
    assert set(secrets) == {"root-1.key", "spare-1.key", "targets-1.key", "hub-1.key"}
    for name in ("hub", "pi-0", "aggregator", "viewer", "camera"):
        files = made.client_files(name)
        has_root = name in {"hub", "pi-0", "aggregator"}
        assert ("root.json" in files) == has_root
        assert ("hub.key" in files) == (name == "hub")
        assert len(paste_line(name, files)) <= MAX_LINE
        given = {secret for secret, content in secrets.items() if content in files.values()}
        assert given == ({"hub-1.key"} if name == "hub" else set())
        if has_root:
            assert root_at(made, name) == keys.roots[-1]


@pytest.mark.parametrize("role", ["root", "targets", "hub"])
def test_new_keys_reach_every_client_s_files(made: FleetFolder, role: str) -> None:
    done = run("rotate", role, "--folder", made.path)
    assert done.exit_code == 0, done.output
    assert "devit fleet sign" in done.output
    keys = made.update_keys
    assert keys is not None
    assert version_of(root_at(made, "pi-0")) == 2
    assert check_chain(keys.roots).version == 2
    old = {path.name for path in (made.path / "updates").glob("*-1.key")}
    assert len(old) == (2 if role == "root" else 3)
    given = made.client_files("hub")["hub.key"]
    named = check_chain(keys.roots).roles["timestamp"].keyids
    assert named == [signer_of(given).public_key.keyid]


def test_a_revoked_hub_loses_its_key_too(made: FleetFolder) -> None:
    before = made.client_files("hub")["hub.key"]
    assert run("revoke", "hub", "--folder", made.path).exit_code == 0
    opened = FleetFolder(made.path)
    keys = opened.update_keys
    assert keys is not None
    assert signer_of(before).public_key.keyid not in check_chain(keys.roots).keys
    opened.add("hub", "hub")
    assert opened.client_files("hub")["hub.key"] != before
    opened.revoke("pi-0")
    assert version_of(root_at(opened, "aggregator")) == 2  # a node has no key of releases


def test_a_fleet_that_was_made_before_gets_keys(made: FleetFolder) -> None:
    shutil.rmtree(made.path / "updates")
    made.add("pi-1", "node", 1)
    assert "root.json" not in made.client_files("pi-1")
    with pytest.raises(ConfigError, match="devit fleet rotate all"):
        made.rotate("targets")
    assert run("rotate", "all", "--folder", made.path).exit_code == 0
    keys = made.update_keys
    assert keys is not None
    assert root_at(made, "pi-1") == keys.roots[0]


def test_all_keys_are_made_anew_and_the_old_ones_kept(made: FleetFolder) -> None:
    before = root_at(made, "pi-0")
    for path in (made.path / "updates").glob("*.key"):
        path.unlink()
    done = run("rotate", "root", "--folder", made.path)
    assert done.exit_code == 1
    assert "put it back" in done.output
    for number in (1, 2):
        assert "every board" in run("rotate", "all", "--folder", made.path).output
        assert (made.path / f"updates-old-{number}").is_dir()
    assert root_at(made, "pi-0") != before
    assert version_of(root_at(made, "pi-0")) == 1


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff"])
def test_a_damaged_root_is_one_clear_line(made: FleetFolder, content: bytes) -> None:
    (made.path / "updates/1.root.json").write_bytes(content)
    done = run("rotate", "targets", "--folder", made.path)
    assert done.exit_code == 1
    assert "put your copy of the folder back" in done.output


def test_roots_that_do_not_follow_each_other_are_refused(made: FleetFolder) -> None:
    made.rotate("targets")
    made.rotate("targets")
    (made.path / "updates/2.root.json").unlink()
    with pytest.raises(ConfigError, match="root 3 comes after root 1"):
        _ = made.update_keys
