"""The metadata that a hub serves: what the owner signed, and its own word for what is the latest.

<n>.root.json, <n>.targets.json    the owner's
<n>.snapshot.json, timestamp.json  the hub's, signed again before they are out of date
"""

import logging
import re
import threading
from collections.abc import Sequence
from pathlib import Path

from devit_iot.errors import ConfigError, DevitError, TrustError
from devit_iot.protocol.release import Release
from devit_iot.trust.metadata import (
    HUB_ROLES,
    SNAPSHOT_DAYS,
    TIMESTAMP_DAYS,
    Allowed,
    allowed_by,
    check_chain,
    expiry_of,
    in_days,
    is_by,
    next_version,
    sign_snapshot,
    sign_timestamp,
    signer_of,
    version_of,
)
from devit_iot.updates.durable import write_file

logger = logging.getLogger(__name__)

_NAME = re.compile(r"timestamp\.json|[1-9][0-9]{0,19}\.(root|snapshot|targets)\.json")


class Repository:
    """A folder of metadata.

    Args:
        folder: made if it is missing.
        root: root that the owner gave to this hub at its set-up.
        key: private key of this hub, PEM.

    Raises:
        ConfigError: root or key cannot be used, or the key is not the one that the root names.
        OSError: the folder cannot be used.
    """

    def __init__(self, folder: Path, root: bytes, key: bytes) -> None:
        self._folder = folder
        self._given = root
        self._signer = signer_of(key)
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            is_named = self._names_us([root])
        except TrustError as error:
            raise ConfigError(
                f"cannot use updates.root_file: {error}; paste the line of `devit fleet add` again"
            ) from error
        if not is_named:
            raise ConfigError(
                "updates.key_file is not the hub's key that the root names: paste the line of "
                "`devit fleet add` again"
            )
        self._begin()

    @property
    def targets(self) -> bytes:
        """What the owner signed last; empty: nothing yet."""
        newest = max(self._versions("targets"), default=0)
        return (self._folder / f"{newest}.targets.json").read_bytes() if newest else b""

    def file(self, name: str) -> bytes | None:
        """A file of the metadata; None if there is none of that name."""
        if not _NAME.fullmatch(name):  # no path may lead out of the folder
            return None
        if name == "timestamp.json":
            self._renew()
        path = self._folder / name
        return path.read_bytes() if path.is_file() else None

    def accept(self, roots: Sequence[bytes], targets: bytes) -> None:
        """Serve what the owner signed.

        Args:
            roots: every root, the first one first.
            targets: the bundles that are allowed.

        Raises:
            DevitError: it is not by the owner, or older than what is here, or it would leave this
                hub without a say.
        """
        root = check_chain(roots)
        if self._given not in roots:
            raise TrustError(
                "these keys are not of the fleet that this hub was set up for: paste the line of "
                "`devit fleet add` on the hub, and start it again"
            )
        if not self._names_us(roots):
            raise TrustError(
                "the root names another key of the hub: paste the line of `devit fleet add` on "
                "the hub, start it again, and repeat"
            )
        if not is_by(root, "targets", targets):
            raise TrustError("what is allowed is not signed by the key that the root names")
        allowed_by(targets)
        with self._lock:
            if version_of(targets) <= self._version("targets"):
                raise DevitError("something else was signed meanwhile: repeat the command")
            for content in roots:
                write_file(self._folder / f"{version_of(content)}.root.json", content)
            write_file(self._folder / f"{version_of(targets)}.targets.json", targets)
            self._sign()

    def allows(self, release: Release) -> bool:
        """Whether the owner allows a bundle."""
        targets = self.targets
        wanted = Allowed(release.fingerprint, release.manifest, release.manifest_size)
        return bool(targets) and wanted in allowed_by(targets)

    def _begin(self) -> None:
        """Go on with what is here if the given root belongs to it; else begin with that alone."""
        roots = self._roots()
        version = version_of(self._given)
        if self._given not in roots:
            try:
                check_chain([*roots, self._given])
            except TrustError:
                for path in self._folder.iterdir():
                    path.unlink()
            write_file(self._folder / f"{version}.root.json", self._given)
        if self.targets:
            with self._lock:
                self._sign()

    def _sign(self) -> None:
        """Name the targets that are here as the latest; the timestamp is written last."""
        before = self._version("snapshot")
        snapshot = sign_snapshot(next_version(before), self.targets, self._signer)
        write_file(self._folder / f"{version_of(snapshot)}.snapshot.json", snapshot)
        self._sign_timestamp(snapshot)
        for path in self._folder.glob("*.snapshot.json"):
            if int(path.name.split(".")[0]) < before:  # the one before may be on its way
                path.unlink()

    def _sign_timestamp(self, snapshot: bytes) -> None:
        path = self._folder / "timestamp.json"
        before = version_of(path.read_bytes()) if path.is_file() else 0
        write_file(path, sign_timestamp(next_version(before), snapshot, self._signer))

    def _renew(self) -> None:
        """Sign again what has less than half of its life before it."""
        path = self._folder / "timestamp.json"
        with self._lock:
            if not path.is_file():
                return
            newest = self._folder / f"{self._version('snapshot')}.snapshot.json"
            snapshot = newest.read_bytes()
            if expiry_of(snapshot) < in_days(SNAPSHOT_DAYS / 2):
                self._sign()
            elif expiry_of(path.read_bytes()) < in_days(TIMESTAMP_DAYS / 2):
                self._sign_timestamp(snapshot)

    def _names_us(self, roots: Sequence[bytes]) -> bool:
        root = check_chain(roots)
        own = self._signer.public_key.keyid
        return all(own in root.roles[role].keyids for role in HUB_ROLES)

    def _roots(self) -> list[bytes]:
        versions = sorted(self._versions("root"))
        return [(self._folder / f"{version}.root.json").read_bytes() for version in versions]

    def _version(self, role: str) -> int:
        return max(self._versions(role), default=0)

    def _versions(self, role: str) -> list[int]:
        paths = self._folder.glob(f"*.{role}.json")
        return [int(path.name.split(".")[0]) for path in paths if _NAME.fullmatch(path.name)]
