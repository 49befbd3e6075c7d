"""Signed metadata of releases by The Update Framework (TUF 1.0). Normative: docs/protocol.md.

root       which keys count for which role       signed by the owner, offline
targets    which bundles may be installed        signed by the owner, offline
snapshot   which version of targets is the latest        signed by the hub
timestamp  which snapshot is the latest, lives a day     signed by the hub

A bundle is allowed by its manifest, which names every other file of it with its SHA-256.
"""

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from devit_iot.errors import ConfigError, TrustError

try:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner, Key, Signer
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import (
        Metadata,
        MetaFile,
        Root,
        Snapshot,
        T,
        TargetFile,
        Targets,
        Timestamp,
    )
except ImportError as missing:
    raise ConfigError(
        f"signing releases needs cryptography and tuf ({missing}): pip install 'devit-iot[fleet]'"
    ) from missing

ROOT_DAYS = 20 * 365
TARGETS_DAYS = 365
SNAPSHOT_DAYS = 30
TIMESTAMP_DAYS = 1

HUB_ROLES = (Snapshot.type, Timestamp.type)
"""Roles whose key lives on the hub."""


class Allowed(NamedTuple):
    """A bundle that may be installed.

    Attributes:
        fingerprint: fingerprint of the bundle, 16 hex digits.
        sha256: SHA-256 of its manifest, hex.
        size: bytes of its manifest.
    """

    fingerprint: str
    sha256: str
    size: int

    @property
    def target(self) -> str:
        """Its name in targets."""
        return target_name(self.fingerprint)


class RootKeys(NamedTuple):
    """Public keys that a root names; one signature of a role is enough.

    Attributes:
        root: keys that may sign the next root.
        targets: key that says which bundles may be installed.
        hub: key of snapshot and timestamp.
    """

    root: tuple[Key, ...]
    targets: Key
    hub: Key


def target_name(fingerprint: str) -> str:
    """The name of a bundle in targets."""
    return f"{fingerprint}/manifest.json"


def signer_of(pem: bytes) -> Signer:
    """What signs with a private Ed25519 key.

    Args:
        pem: key as :func:`devit_iot.bundle.signature.new_key` makes it.

    Raises:
        ConfigError: it is no such key.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except Exception as error:  # many types: a wrong format, a password, a key of another kind
        raise ConfigError(f"no private key in PEM without a password: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError("no Ed25519 key: `devit fleet rotate` makes another one")
    return CryptoSigner(key)


def in_days(days: float) -> datetime:
    """The moment in so many days, from this machine's clock; TUF has whole seconds."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)


def next_version(before: int) -> int:
    """A version above ``before`` that a hub which lost its folder reaches too: Unix seconds."""
    return max(before + 1, int(time.time()))


def sign_root(version: int, keys: RootKeys, signers: Iterable[Signer]) -> bytes:
    """A root; ``signers`` have keys of the root before and of this one."""
    root = Root(version=version, expires=in_days(ROOT_DAYS))
    for key in keys.root:
        root.add_key(key, Root.type)
    root.add_key(keys.targets, Targets.type)
    for role in HUB_ROLES:
        root.add_key(keys.hub, role)
    return _signed(root, signers)


def sign_targets(
    version: int, bundles: Iterable[Allowed], signer: Signer, expires: datetime
) -> bytes:
    """Targets that allow these bundles and no other."""
    targets = {
        bundle.target: TargetFile(bundle.size, {"sha256": bundle.sha256}, bundle.target)
        for bundle in bundles
    }
    return _signed(Targets(version=version, expires=expires, targets=targets), [signer])


def sign_snapshot(version: int, targets: bytes, signer: Signer) -> bytes:
    """A snapshot that names ``targets`` as the latest."""
    meta = MetaFile.from_data(version_of(targets), targets, ["sha256"])
    snapshot = Snapshot(
        version=version, expires=in_days(SNAPSHOT_DAYS), meta={f"{Targets.type}.json": meta}
    )
    return _signed(snapshot, [signer])


def sign_timestamp(
    version: int, snapshot: bytes, signer: Signer, expires: datetime | None = None
) -> bytes:
    """A timestamp that names ``snapshot`` as the latest; it lives a day unless told otherwise."""
    meta = MetaFile.from_data(version_of(snapshot), snapshot, ["sha256"])
    timestamp = Timestamp(
        version=version, expires=expires or in_days(TIMESTAMP_DAYS), snapshot_meta=meta
    )
    return _signed(timestamp, [signer])


def version_of(content: bytes) -> int:
    """The version that metadata has by its own words.

    Raises:
        TrustError: it is no metadata.
    """
    version: int = _any(content).signed.version
    return version


def expiry_of(content: bytes) -> datetime:
    """Until when metadata counts, by its own words.

    Raises:
        TrustError: it is no metadata.
    """
    expires: datetime = _any(content).signed.expires
    return expires


def check_chain(roots: Sequence[bytes]) -> Root:
    """The last of ``roots``, after each was found to be signed by the one before it and by itself.

    Raises:
        TrustError: one is not, or their versions do not follow each other.
    """
    parsed = [_parsed(content, Root) for content in roots]
    if not parsed:
        raise TrustError("there is no root")
    try:
        parsed[0].signed.verify_delegate(Root.type, parsed[0].signed_bytes, parsed[0].signatures)
        for before, after in pairwise(parsed):
            if after.signed.version != before.signed.version + 1:
                raise TrustError(
                    f"root {after.signed.version} comes after root {before.signed.version}"
                )
            for delegator in (before.signed, after.signed):
                delegator.verify_delegate(Root.type, after.signed_bytes, after.signatures)
    except (RepositoryError, ValueError) as error:
        raise TrustError(f"a root is not signed by the one before it: {error}") from error
    return parsed[-1].signed


def is_by(root: Root, role: str, content: bytes) -> bool:
    """Whether metadata of a role is signed by who ``root`` names for it."""
    try:
        parsed = _any(content)
        root.verify_delegate(role, parsed.signed_bytes, parsed.signatures)
    except (TrustError, RepositoryError, ValueError):
        return False
    found: str = parsed.signed.type
    return found == role


def allowed_by(targets: bytes) -> list[Allowed]:
    """The bundles that targets allow; signatures are not looked at.

    Raises:
        TrustError: it is none of our targets.
    """
    found = _parsed(targets, Targets).signed.targets
    try:
        return [
            Allowed(name.removesuffix("/manifest.json"), file.hashes["sha256"], file.length)
            for name, file in found.items()
        ]
    except KeyError as error:
        raise TrustError("targets without a SHA-256") from error


def _any(content: bytes) -> Metadata[Any]:
    try:
        return Metadata.from_bytes(content)
    except RepositoryError as error:
        raise TrustError(f"metadata that does not parse: {error}") from error


def _parsed(content: bytes, kind: type[T]) -> Metadata[T]:
    parsed: Metadata[T] = _any(content)
    if not isinstance(parsed.signed, kind):
        raise TrustError(f"metadata of {parsed.signed.type}, wanted is {kind.type}")
    return parsed


def _signed(signed: T, signers: Iterable[Signer]) -> bytes:
    metadata = Metadata(signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()
