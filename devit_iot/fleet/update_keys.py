"""The owner's keys for releases: a folder that never leaves the owner's machine.

root-<n>.key      signs roots; one of two, both since root n
spare-<n>.key     signs roots too: keep it in another place, for the day when the other one is lost
targets-<n>.key   signs which bundles may be installed
hub-<n>.key       the hub's, which it gets by the line of `devit fleet add`
<n>.root.json     every root that there was
targets.json      what was signed last

A key's file is never replaced: the newest root says which keys count, by their content.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple, Self

from securesystemslib.signer import Key, Signer

from devit_iot.bundle.signature import new_key
from devit_iot.errors import ConfigError, TrustError
from devit_iot.trust.metadata import (
    TARGETS_DAYS,
    Allowed,
    RootKeys,
    allowed_by,
    check_chain,
    in_days,
    is_by,
    sign_root,
    sign_targets,
    signer_of,
    version_of,
)

KeyRole = Literal["root", "targets", "hub"]

_TARGETS = "targets.json"
_FILES: dict[KeyRole, tuple[str, ...]] = {
    "root": ("root", "spare"),
    "targets": ("targets",),
    "hub": ("hub",),
}
_OF_TUF: dict[KeyRole, str] = {"root": "root", "targets": "targets", "hub": "snapshot"}


class _Held(NamedTuple):
    """A private key that is here."""

    path: Path
    signer: Signer


class UpdateKeys:
    """The keys on disk. Each change is written before its method returns.

    Args:
        path: the folder.
        write: replaces a private file, at once and whole.

    Attributes:
        roots: every root, the first one first.

    Raises:
        ConfigError: the folder cannot be read, or its roots do not follow each other.
    """

    def __init__(self, path: Path, write: Callable[[Path, bytes], None]) -> None:
        self._path = path
        self._write = write
        try:
            files = sorted(path.glob("*.root.json"), key=lambda file: int(file.name.split(".")[0]))
            self.roots = [file.read_bytes() for file in files]
            self._root = check_chain(self.roots)
        except (OSError, ValueError, TrustError) as error:
            raise ConfigError(
                f"cannot use the keys in {path}: {error}; put your copy of the folder back"
            ) from error

    @classmethod
    def create(cls, path: Path, write: Callable[[Path, bytes], None]) -> Self:
        """Make the folder, keys of every role and the first root."""
        path.mkdir(mode=0o700)
        made = {role: _make(path, role, 1, write) for role in _FILES}
        public = {role: tuple(s.public_key for s in signers) for role, signers in made.items()}
        keys = RootKeys(public["root"], *public["targets"], *public["hub"])
        write(path / "1.root.json", sign_root(1, keys, made["root"]))
        return cls(path, write)

    @property
    def hub_key(self) -> bytes:
        """The hub's private key, as PEM.

        Raises:
            ConfigError: it is not here.
        """
        return self._own("hub")[0].path.read_bytes()

    @property
    def allowed(self) -> list[Allowed]:
        """What was signed last by the key that counts now; nothing if another key did.

        A key of targets that was replaced may have been stolen: what it signed is not signed again.
        """
        path = self._path / _TARGETS
        content = path.read_bytes() if path.is_file() else b""
        return allowed_by(content) if self.is_ours(content) else []

    @property
    def targets_version(self) -> int:
        """The version of what was signed last; 0: nothing was."""
        path = self._path / _TARGETS
        return version_of(path.read_bytes()) if path.is_file() else 0

    def is_ours(self, targets: bytes) -> bool:
        """Whether the key that counts now signed these targets."""
        return is_by(self._root, "targets", targets)

    def sign(self, bundles: Iterable[Allowed], version: int, days: float = TARGETS_DAYS) -> bytes:
        """Allow these bundles and no other, for so many days; the targets.

        Raises:
            ConfigError: the key of targets is not here.
        """
        (held,) = self._own("targets")
        content = sign_targets(version, bundles, held.signer, in_days(days))
        self._write(self._path / _TARGETS, content)
        return content

    def rotate(self, role: KeyRole) -> int:
        """Replace the keys of a role by new ones; the version of the new root.

        Raises:
            ConfigError: no key of the root is here.
        """
        signers = [held.signer for held in self._own("root")]
        version = self._root.version + 1
        new = _make(self._path, role, version, self._write)
        public: dict[KeyRole, tuple[Key, ...]] = {
            **{kept: self._public(kept) for kept in _FILES},
            role: tuple(signer.public_key for signer in new),
        }
        keys = RootKeys(public["root"], *public["targets"], *public["hub"])
        content = sign_root(version, keys, (*signers, *(new if role == "root" else ())))
        self._write(self._path / f"{version}.root.json", content)
        self.roots.append(content)
        self._root = check_chain(self.roots)
        for held in self._held():
            if held.signer.public_key.keyid not in self._root.keys:
                held.path.unlink()
        return version

    def _own(self, role: KeyRole) -> list[_Held]:
        """The private keys of a role that count now and are here."""
        ids = self._root.roles[_OF_TUF[role]].keyids
        held = [held for held in self._held() if held.signer.public_key.keyid in ids]
        if not held:
            names = " or ".join(f"{name}-*.key" for name in _FILES[role])
            raise ConfigError(
                f"no {names} that counts is in {self._path}: put it back, or see 'When a key is "
                "lost' in docs/fleet.md"
            )
        return held

    def _public(self, role: KeyRole) -> tuple[Key, ...]:
        ids = self._root.roles[_OF_TUF[role]].keyids
        return tuple(self._root.keys[one] for one in ids)

    def _held(self) -> list[_Held]:
        paths = sorted(self._path.glob("*.key"))
        return [_Held(path, signer_of(path.read_bytes())) for path in paths]


def _make(
    path: Path, role: KeyRole, version: int, write: Callable[[Path, bytes], None]
) -> list[Signer]:
    made = []
    for name in _FILES[role]:
        pem = new_key()
        write(path / f"{name}-{version}.key", pem)
        made.append(signer_of(pem))
    return made
