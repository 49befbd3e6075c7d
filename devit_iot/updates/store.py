"""The folder in which a member of a fleet with a hub keeps its bundles.

state.json                which bundle is good, which is on trial, which failed
bundles/<fingerprint>/    the files of one bundle that this member needs
"""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from devit_iot.bundle.durable import sync_folder
from devit_iot.bundle.manifest import MANIFEST, FileEntry, decode_manifest
from devit_iot.errors import BundleError, ConfigError
from devit_iot.updates.durable import write_file

MAX_STARTS = 3
"""A process that ended so often with a release on trial returns to the one before."""

_STATE = "state.json"
_MAX_FAILURES = 16


class Held(msgspec.Struct, frozen=True):
    """A release on this member's disk.

    Attributes:
        number: number of the release.
        fingerprint: fingerprint of its bundle.
        part: part that a node runs; None on an aggregator.
        parts: how many parts the bundle has.
    """

    number: int
    fingerprint: str
    part: int | None
    parts: int

    def is_same(self, other: "Held | None") -> bool:
        """Whether both are one part of one bundle, under whatever number."""
        return other is not None and (self.fingerprint, self.part) == (
            other.fingerprint,
            other.part,
        )


class StoreState(msgspec.Struct, frozen=True):
    """The content of state.json.

    Attributes:
        good: what is served when nothing is on trial.
        old: what was good before that.
        trial: what is served and not known to be good.
        starts: how often the process was started with it.
        installs: release -> how often its installation was begun and not ended.
        failed: release -> why it is not tried again.
    """

    good: Held | None = None
    old: Held | None = None
    trial: Held | None = None
    starts: int = 0
    installs: dict[str, int] = {}
    failed: dict[str, str] = {}


class Store:
    """The bundles of one member. Each change is on the disk before its method returns.

    Attributes:
        path: the folder; made if it is missing.
        state: what state.json holds.

    Raises:
        ConfigError: the folder cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._bundles.mkdir(parents=True, exist_ok=True)
            content = (path / _STATE).read_bytes()
        except FileNotFoundError:
            content = b"{}"
        except OSError as error:
            raise ConfigError(f"cannot use the store {path}: {error.strerror}") from error
        try:
            self.state = msgspec.json.decode(content, type=StoreState)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{path / _STATE} does not parse ({error}); delete {path}, it is fetched again"
            ) from error

    def begin(self) -> Held | None:
        """What a process that starts serves; None if it has nothing yet.

        A release on trial has as many starts as :data:`MAX_STARTS`; then the good one is served.
        """
        trial = self.state.trial
        if trial is None:
            return self.state.good
        if self.state.starts >= MAX_STARTS:
            self.fail(trial.number, f"the process ended {MAX_STARTS} times in the trial")
            self._save(trial=None, starts=0)
            return self.state.good
        self._save(starts=self.state.starts + 1)
        return trial

    def ended_cleanly(self) -> None:
        """The process was told to end: that says nothing against a release on trial."""
        if self.state.trial is not None:
            self._save(starts=0)

    def begin_install(self, number: int) -> int:
        """Note that an installation begins; how many began before and never ended."""
        before = self.state.installs.get(str(number), 0)
        self._save(installs={str(number): before + 1})
        return before

    def end_install(self) -> None:
        """The installation ended, well or not."""
        self._save(installs={})

    def put_on_trial(self, held: Held) -> None:
        """Serve ``held`` from now on, until it is good or not."""
        self._save(trial=held, starts=0)

    def settle(self, held: Held) -> None:
        """``held`` is good; nothing is on trial any more."""
        good = self.state.good
        if (good, self.state.trial) != (held, None):
            old = self.state.old if held.is_same(good) else good
            self._save(good=held, old=old, trial=None, starts=0)

    def reject(self, held: Held, error: str) -> Held | None:
        """What :meth:`begin` gave cannot be served; what to serve instead, None: nothing."""
        if held == self.state.trial:
            self.fail(held.number, error)
            self._save(trial=None, starts=0)
            return self.state.good
        self.forget()
        return None

    def forget(self) -> None:
        """Serve nothing after the next start, until the hub says what."""
        self._save(good=None, trial=None, starts=0)

    def fail(self, number: int, error: str) -> None:
        """Do not try release ``number`` again."""
        kept = [*self.state.failed.items(), (str(number), error)][-_MAX_FAILURES:]
        self._save(failed=dict(kept))

    def failure(self, number: int) -> str:
        """Why release ``number`` is not tried again; empty if it may be."""
        return self.state.failed.get(str(number), "")

    def folder(self, fingerprint: str) -> Path:
        """Where the files of a bundle are."""
        return self._bundles / fingerprint

    @property
    def fingerprints(self) -> list[str]:
        """Fingerprints of the bundles that are here, the one that was changed last at the end."""
        folders = sorted(self._bundles.iterdir(), key=lambda folder: folder.stat().st_mtime)
        return [folder.name for folder in folders]

    def copy_of(self, sha256: str) -> Path | None:
        """A file of any bundle here that has this content by its manifest."""
        for folder in self._bundles.iterdir():
            for entry in _entries(folder):
                path = folder / entry.file
                if entry.sha256 == sha256 and path.is_file():
                    return path
        return None

    def keep(self, fingerprints: Iterable[str]) -> None:
        """Remove the bundles that are neither named nor good nor on trial, nor good before."""
        state = self.state
        wanted = {held.fingerprint for held in (state.good, state.old, state.trial) if held}
        wanted.update(fingerprints)
        for folder in self._bundles.iterdir():
            if folder.name not in wanted:
                shutil.rmtree(folder, ignore_errors=True)

    @property
    def _bundles(self) -> Path:
        return self.path / "bundles"

    def _save(self, **changes: object) -> None:
        self.state = msgspec.structs.replace(self.state, **changes)
        content = msgspec.json.format(msgspec.json.encode(self.state))
        write_file(self.path / _STATE, content)
        sync_folder(self.path)


def _entries(folder: Path) -> Iterator[FileEntry]:
    path = folder / MANIFEST
    try:
        manifest = decode_manifest(path, path.read_bytes())
    except (OSError, BundleError):
        return
    yield from (part.weights for part in manifest.parts)
    yield manifest.fusion
