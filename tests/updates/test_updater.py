"""A member's way from one release to the next, with files that are there at once or not at all."""

import errno
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devit_iot.bundle.manifest import FileEntry, sha256_of
from devit_iot.bundle.reading import Bundle
from devit_iot.errors import EngineError
from devit_iot.protocol.release import Release, Rollout, UpdateStatus
from devit_iot.transport.base import Message
from devit_iot.updates import updater as updater_module
from devit_iot.updates.fetch import ContentError, Fetcher, FetchError
from devit_iot.updates.installer import Installer
from devit_iot.updates.store import Held, Store
from devit_iot.updates.updater import Member, Serving, Updater
from tests.support.fleets import wait_until
from tests.support.releases import release_of, sealed, two_bundles

NAME = "pi-0"


class FakeFetcher(Fetcher):
    """Copies files from bundles on this disk.

    Attributes:
        fetched: names of the files, in turn.
        errors: raised in turn before anything is fetched.
    """

    def __init__(self, *folders: Path) -> None:
        super().__init__(None)
        files = [path for folder in folders for path in folder.iterdir()]
        self._files = {sha256_of(path): path for path in files}
        self.fetched: list[str] = []
        self.errors: list[Exception] = []

    def fetch(
        self, url: str, entry: FileEntry, path: Path, *, on_bytes: Callable[[int], None]
    ) -> None:
        del url
        if self.errors:
            raise self.errors.pop(0)
        on_bytes(entry.size)
        self.fetched.append(entry.file)
        shutil.copyfile(self._files[entry.sha256], path)


class World:
    """A node's updater and all that it touches."""

    def __init__(self, folder: Path, *bundles: Bundle) -> None:
        self.folder = folder
        self.fetcher = FakeFetcher(*(bundle.path for bundle in bundles))
        self.said: list[UpdateStatus] = []
        self.served: list[Held] = []
        self.left = 0
        self.refuse: set[str] = set()
        self.no_room: set[str] = set()
        self.loading = threading.Event()
        self.loading.set()
        self.store = Store(folder)

    @contextmanager
    def running(self, serving: Serving[str] | None = None) -> Iterator[Updater[str]]:
        member = Member(NAME, self._load, self._serve, self._leave)
        installer = Installer(self.store, self.fetcher)
        updater = Updater(member, self.store, installer, self.said.append, serving)
        thread = threading.Thread(target=updater.run)
        thread.start()
        try:
            yield updater
        finally:
            self.loading.set()
            updater.stop()
            thread.join(10)
            assert not thread.is_alive()

    @property
    def states(self) -> list[tuple[int, str]]:
        """Release and state, without repetitions."""
        found: list[tuple[int, str]] = []
        for status in self.said:
            if found[-1:] != [(status.release, status.state)]:
                found.append((status.release, status.state))
        return found

    def wait_for(self, release: int, state: str) -> UpdateStatus:
        wait_until(
            lambda: self.said and (self.said[-1].release, self.said[-1].state) == (release, state)
        )
        return self.said[-1]

    def _load(self, folder: Path, held: Held) -> str | None:
        assert (folder / "manifest.json").is_file()
        assert self.loading.wait(10)
        if held.fingerprint in self.refuse:
            raise EngineError("fails the golden check")
        return None if held.fingerprint in self.no_room else held.fingerprint

    def _serve(self, serving: Serving[str]) -> None:
        self.served.append(serving.held)

    def _leave(self) -> None:
        self.left += 1


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    return two_bundles(tmp_path_factory.mktemp("bundles"))


@pytest.fixture
def world(tmp_path: Path, bundles: tuple[Bundle, Bundle], monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(updater_module, "PAUSE_S", (0.01, 0.02))
    monkeypatch.setattr(updater_module, "TURN_S", (0.01, 0.02))
    return World(tmp_path / "store", *bundles)


def say(updater: Updater[str], *, retained: bool = False, **fields: object) -> None:
    rollout = Rollout(url="http://hub", **fields)  # type: ignore[arg-type]
    updater.receive(Message("release", rollout.encode(), retained))


@pytest.fixture
def one(bundles: tuple[Bundle, Bundle]) -> Release:
    return release_of(bundles[0], 1, {NAME: 2})


@pytest.fixture
def two(bundles: tuple[Bundle, Bundle]) -> Release:
    return release_of(bundles[1], 2, {NAME: 2})


def test_the_states_come_in_their_order(world: World, one: Release, two: Release) -> None:
    with world.running() as updater:
        say(updater, current=one)
        world.wait_for(1, "ACTIVATED")
        say(updater, current=one, next=two)
        world.wait_for(2, "INSTALLED")
        assert [held.number for held in world.served] == [1]
        say(updater, current=one, next=two, activate=True)
        assert world.wait_for(2, "ACTIVATED").trial
        assert world.store.state.trial == Held(2, two.fingerprint, 2, 4)
        say(updater, current=two)
        wait_until(lambda: not world.said[-1].trial)
    order = (
        "CREATED",
        "DOWNLOADING",
        "DOWNLOADED",
        "INSTALLING",
        "INSTALLED",
        "ACTIVATING",
        "ACTIVATED",
    )
    assert world.states == [(0, "CREATED"), *((n, state) for n in (1, 2) for state in order)]
    assert world.store.state.good == Held(2, two.fingerprint, 2, 4)
    assert world.fetcher.fetched == ["manifest.json", "part-2.safetensors"] * 2


def test_a_release_that_is_ended_goes_back_at_once(
    world: World, one: Release, two: Release
) -> None:
    with world.running() as updater:
        say(updater, current=one)
        world.wait_for(1, "ACTIVATED")
        say(updater, current=one, next=two, activate=True)
        world.wait_for(2, "ACTIVATED")
        say(updater, current=one)
        world.wait_for(1, "ACTIVATED")
    assert [held.number for held in world.served] == [1, 2, 1]
    assert world.store.state.trial is None
    assert world.fetcher.fetched.count("part-2.safetensors") == 2


def test_a_board_without_room_for_two_goes_over_by_another_start(
    world: World, one: Release, two: Release
) -> None:
    world.no_room.add(two.fingerprint)
    with world.running() as updater:
        say(updater, current=one)
        world.wait_for(1, "ACTIVATED")
        say(updater, current=one, next=two)
        assert "no room" in world.wait_for(2, "INSTALLED").error
        say(updater, current=one, next=two, activate=True)
        wait_until(lambda: [held.number for held in world.served] == [1, 2])
    again = Store(world.folder).begin()
    assert again == Held(2, two.fingerprint, 2, 4)
    with world.running(Serving(again, "loaded")) as updater:
        say(updater, current=one, next=two, activate=True, retained=True)
        assert world.wait_for(2, "ACTIVATED").trial


def test_what_fails_the_golden_check_is_tried_once(
    world: World, one: Release, two: Release
) -> None:
    world.refuse.add(two.fingerprint)
    with world.running() as updater:
        say(updater, current=one)
        world.wait_for(1, "ACTIVATED")
        say(updater, current=one, next=two)
        failed = world.wait_for(2, "TERMINATED")
        assert "golden check" in failed.error
        assert failed.serving == 1
        say(updater, current=one)  # the hub ended it: that it failed stays said
        wait_until(lambda: updater._progress.status.state == "TERMINATED")
    assert [held.number for held in world.served] == [1]
    with world.running(Serving(Held(1, one.fingerprint, 2, 4), "x")) as updater:
        say(updater, current=one, next=two)
        assert "golden check" in world.wait_for(2, "TERMINATED").error
    assert world.states.count((2, "INSTALLING")) == 1


@pytest.mark.parametrize(
    "error", [ContentError("SHA-256"), OSError(errno.ENOSPC, "No space left on device")]
)
def test_wrong_bytes_and_a_full_disk_are_tried_three_times(
    world: World, two: Release, error: Exception
) -> None:
    world.fetcher.errors = [error] * 3
    with world.running() as updater:
        say(updater, next=two)
        failed = world.wait_for(2, "TERMINATED")
    assert failed.attempt == 3
    assert failed.error
    assert not world.fetcher.errors


def test_a_hub_that_is_away_is_tried_until_it_is_back(world: World, two: Release) -> None:
    world.fetcher.errors = [FetchError("cut")] * 10
    with world.running() as updater:
        say(updater, next=two)
        done = world.wait_for(2, "INSTALLED")
    assert done.attempt == 11
    assert done.error == ""
    assert any(status.error == "cut" for status in world.said)


def test_a_canary_is_waited_for(world: World, two: Release) -> None:
    with world.running() as updater:
        say(updater, next=two, canary="pi-1")
        say(updater, next=two, canary="pi-1")
        wait_until(lambda: world.said)
        assert world.fetcher.fetched == []
        say(updater, next=two, canary=NAME)
        world.wait_for(2, "INSTALLED")


def test_what_is_not_wanted_any_more_is_dropped(world: World, one: Release, two: Release) -> None:
    world.loading.clear()
    with world.running() as updater:
        say(updater, next=one)
        world.wait_for(1, "INSTALLING")
        say(updater, next=two)
        world.loading.set()
        world.wait_for(2, "INSTALLED")
    assert world.served == []


def test_files_that_did_not_change_are_not_fetched_again(
    world: World, bundles: tuple[Bundle, Bundle], tmp_path: Path, one: Release
) -> None:
    other = tmp_path / "other"
    shutil.copytree(bundles[0].path, other)
    shutil.copyfile(bundles[1].path / "fusion.safetensors", other / "fusion.safetensors")
    changed = sealed(other)
    world.fetcher = FakeFetcher(bundles[0].path, other)
    with world.running() as updater:
        say(updater, current=one)
        world.wait_for(1, "ACTIVATED")
        say(updater, current=one, next=release_of(changed, 2, {NAME: 2}))
        world.wait_for(2, "INSTALLED")
    assert world.fetcher.fetched == ["manifest.json", "part-2.safetensors", "manifest.json"]


def test_a_node_without_a_part_waits_and_one_that_loses_it_leaves(
    world: World, bundles: tuple[Bundle, Bundle], one: Release
) -> None:
    others = release_of(bundles[0], 1, {"pi-1": 2})
    with world.running() as updater:
        say(updater, current=others)
        say(updater, current=others)
        world.wait_for(0, "CREATED")
        say(updater, current=one)
        world.wait_for(1, "ACTIVATED")
        say(updater, current=others)
        world.wait_for(0, "CREATED")
    assert world.left == 1
    assert world.store.begin() is None


def test_a_bare_node_answers_a_hub_that_came_later(world: World) -> None:
    """Its first words went to nobody, and nothing has changed since."""
    with world.running() as updater:
        say(updater)
        wait_until(lambda: world.said)


def test_it_says_where_it_is_to_a_hub_that_is_new(world: World, one: Release) -> None:
    with world.running() as updater:
        say(updater, current=one)
        world.wait_for(1, "ACTIVATED")
        for retained in (True, False):
            said = len(world.said)
            say(updater, current=one, retained=retained)
            wait_until(lambda said=said: len(world.said) > said)  # type: ignore[misc]
            assert world.said[-1].state == "ACTIVATED"


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"url": 7}', b"\xff"])
def test_rubbish_on_the_release_topic_changes_nothing(
    world: World, one: Release, payload: bytes
) -> None:
    with world.running() as updater:
        say(updater, current=one)
        world.wait_for(1, "ACTIVATED")
        updater.receive(Message("release", payload, retained=False))
        say(updater, current=one)
    assert [held.number for held in world.served] == [1]
