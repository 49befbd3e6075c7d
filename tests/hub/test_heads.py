"""Heads that come with a release: from a bundle's folder over the hub to a store."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from devit_iot.bundle.head import current_folder, head_names, live_version, read_head
from devit_iot.bundle.head_cameras import cameras_of, give_cameras
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.signature import new_key
from devit_iot.cli.bundle import bundle as command
from devit_iot.errors import BundleError
from devit_iot.hub.client import HubClient
from devit_iot.hub.conductor import Conductor
from devit_iot.hub.files import Files
from devit_iot.hub.hub import Hub
from devit_iot.hub.limits import Limits
from devit_iot.hub.server import HubServer
from devit_iot.hub.state import read_state
from devit_iot.protocol.release import Release
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from devit_iot.updates.fetch import Fetcher
from devit_iot.updates.heads import take_over_heads
from devit_iot.updates.installer import Installer
from devit_iot.updates.store import Store
from tests.support.fleets import make_bundle
from tests.support.heads import write_random
from tests.support.running import TOPICS

TOKEN = "secret"  # noqa: S105


class World:
    """A hub over HTTP, and the store of an aggregator."""

    def __init__(self, folder: Path, trust: str = "") -> None:
        self.files = Files(folder / "files")
        limits = Limits(1, 0.25, 60.0, 60.0, 60.0, 60.0, 60.0)
        self.hub = Hub(
            Conductor(read_state(folder, "http://hub"), limits, 0.0),
            folder,
            self.files,
            MemoryTransport(MemoryBroker()),
            topics=TOPICS,
            trust=trust,
        )
        self.server = HubServer(
            "127.0.0.1", 0, self.files, self.hub, token=TOKEN, downloads=8, tls=None
        )
        self.url = f"http://127.0.0.1:{self.server.port}"
        self.client = HubClient(self.url, TOKEN, None)
        self.store = Store(folder / "store")

    @property
    def coming(self) -> Release:
        """What was pushed last."""
        release = self.hub.status().rollout.next
        assert release is not None
        return release

    def install(self, part: int | None = None) -> Bundle:
        """What a member has after it fetched the release."""
        installer = Installer(self.store, Fetcher(None))
        return Bundle(installer.download(self.url, self.coming, part, lambda _share: None))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "hub")
    with world.server:
        yield world


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "bundle", seed=3)


def test_a_push_ships_the_heads_to_aggregators_alone(world: World, bundle: Bundle) -> None:
    versions = {name: write_random(bundle, name, seed) for seed, name in enumerate("ab")}
    world.client.push(bundle, "")
    assert [head.name for head in world.coming.heads] == ["a", "b"]
    there = world.install()
    assert {name: read_head(there, name).version for name in "ab"} == versions
    assert not list(there.path.rglob("*.partial*"))
    shutil.rmtree(there.path)
    assert head_names(world.install(part=0)) == ("default",)


def test_what_belongs_to_a_head_stays_as_long_as_its_release(world: World, bundle: Bundle) -> None:
    write_random(bundle, "gate", 0)
    world.client.push(bundle, "")
    world.files.keep([world.coming])
    world.install()
    without = msgspec.structs.replace(world.coming, heads=())
    world.files.keep([without])
    assert world.files.path(world.coming.heads[0].manifest) is None


def test_a_damaged_head_is_not_pushed(world: World, bundle: Bundle) -> None:
    write_random(bundle, "gate", 0)
    (current_folder(bundle, "gate") / "head.safetensors").write_bytes(b"cut")
    with pytest.raises(BundleError, match=r"head\.safetensors is not the file"):
        world.client.push(bundle, "")
    assert world.hub.status().rollout.next is None


def test_a_head_for_other_parts_ends_the_installation(world: World, bundle: Bundle) -> None:
    write_random(bundle, "gate", 0)
    world.client.push(bundle, "")
    other = make_bundle(bundle.path.parent / "other", seed=4)
    write_random(other, "gate", 0)
    stranger = world.client._upload_head(other, "gate")
    release = msgspec.structs.replace(world.coming, heads=(stranger,))
    installer = Installer(world.store, Fetcher(None))
    with pytest.raises(BundleError, match="teach it again on this bundle"):
        installer.download(world.url, release, None, lambda _share: None)


def test_a_hub_with_trust_takes_signed_heads_only(tmp_path: Path, bundle: Bundle) -> None:
    key = tmp_path / "key"
    key.write_bytes(new_key())
    sign = ["sign", str(bundle.path), "--key", str(key)]
    public = CliRunner().invoke(command, sign).output.strip()
    world = World(tmp_path / "hub", trust=public)
    write_random(bundle, "gate", 0)
    with world.server:
        with pytest.raises(Exception, match="head 'gate' is not signed by"):
            world.client.push(bundle, "")
        CliRunner().invoke(command, sign)
        world.client.push(bundle, "")
        there = world.install()
    assert read_head(Bundle(there.path, trust=public), "gate").version == live_version(
        bundle, "gate"
    )


def test_given_heads_are_taken_over_with_their_cameras(tmp_path: Path, bundle: Bundle) -> None:
    store = Store(tmp_path / "store")
    old = Bundle(Path(shutil.copytree(bundle.path, store.folder("1" * 16))))
    new = Bundle(Path(shutil.copytree(bundle.path, store.folder("2" * 16))))
    version = write_random(old, "gate", 0)
    write_random(old, "idle", 1)
    give_cameras(old, "gate", ("door",))
    take_over_heads(store, new, ("default",))
    assert head_names(new) == ("default", "gate")
    assert live_version(new, "gate") == version
    assert cameras_of(new, "gate") == ("door",)
