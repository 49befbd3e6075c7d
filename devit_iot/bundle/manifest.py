"""The manifest of a fleet bundle, and when it is consistent. Normative: docs/bundle.md.

Every file is named with its size and SHA-256, and the fingerprint ties them together: a feature
made with one bundle is never fused with the matrices of another.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from devit_iot.bundle.spec import CROPPED, WHOLE, FusionSpec, SubVitSpec
from devit_iot.bundle.storage import Storage
from devit_iot.errors import BundleError, SpecError
from devit_iot.protocol.text import is_plain

FORMAT = "devit-bundle"


VERSION = 4
"""Of bundles with a part whose ``resize`` is stated."""


VERSION_OF_VIEWS = 3
"""Of the other bundles with a part that has a view."""


FIRST_VERSION = 2
"""Of all other bundles, which are written as they always were."""


MANIFEST = "manifest.json"


MAX_PARTS = 255


MAX_CLASSES = 65535


MAX_NAME_LENGTH = 256


_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the bundle: plain name, size in bytes, SHA-256 in hex."""

    file: str
    size: int
    sha256: str


class PartEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One part: its weights, its shape, the classes that it was made for, and its matrices' dtype.

    See :mod:`devit_iot.bundle.storage`.
    """

    weights: FileEntry
    spec: SubVitSpec
    classes: tuple[int, ...]
    dtype: Storage


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of manifest.json. ``provenance`` is for people and enters no check."""

    format: str
    version: int
    name: str
    fingerprint: str
    classes: tuple[str, ...]
    parts: tuple[PartEntry, ...]
    fusion: FileEntry
    provenance: dict[str, str] = {}

    @property
    def fusion_spec(self) -> FusionSpec:
        """The fusion's shape, as the parts imply it."""
        return FusionSpec(len(self.classes), tuple(p.spec.feature_dim for p in self.parts))


def decode_manifest(path: Path, text: bytes) -> Manifest:
    """Decode and check a manifest.

    Args:
        path: the file's path, for messages.
        text: the file's content.

    Raises:
        BundleError: it does not parse, or it is of another version, or inconsistent.
    """
    try:
        head = msgspec.json.decode(text, type=dict[str, object])
        versions = (FIRST_VERSION, VERSION_OF_VIEWS, VERSION)
        if head.get("format") != FORMAT or head.get("version") not in versions:
            raise BundleError(
                f"{path} is {head.get('format')} version {head.get('version')}, this release reads "
                f"{FORMAT} versions {FIRST_VERSION} to {VERSION}; export the bundle with a "
                "matching release"
            )
        manifest = msgspec.json.decode(text, type=Manifest)
        needed = needed_version(part.spec for part in manifest.parts)
        if manifest.version != needed:
            raise BundleError(
                f"{path} says version {manifest.version}, but what its parts see and how their "
                f"images are resized is said in version {needed}; export the bundle again"
            )
        _validate(manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, SpecError) as error:
        raise BundleError(f"{path} does not parse: {error}") from error
    return manifest


def _validate(manifest: Manifest) -> None:
    """Raise unless the manifest is consistent; every size is bounded before anyone allocates."""
    if not 1 <= len(manifest.parts) <= MAX_PARTS:
        raise BundleError(f"a bundle has 1 to {MAX_PARTS} parts, got {len(manifest.parts)}")
    if not 1 <= len(manifest.classes) <= MAX_CLASSES:
        raise BundleError(f"a bundle has 1 to {MAX_CLASSES} classes, got {len(manifest.classes)}")
    for name in (manifest.name, *manifest.classes):  # they are logged, and sent in labels
        if not is_plain(name, MAX_NAME_LENGTH):
            raise BundleError(
                f"name {name[:MAX_NAME_LENGTH]!r} is longer than {MAX_NAME_LENGTH} characters, or "
                "has some that cannot be printed"
            )
    for part in manifest.parts:
        part.spec.validate()
        if any(not 0 <= index < len(manifest.classes) for index in part.classes):
            raise BundleError(f"{part.weights.file}: a class index is out of range")
    files = [part.weights.file for part in manifest.parts] + [manifest.fusion.file]
    for file in files:
        if not _FILE_NAME.fullmatch(file):  # no path may lead out of the bundle
            raise BundleError(f"'{file}' is not a plain file name")
    if manifest.fingerprint != fingerprint_of(manifest):
        raise BundleError(
            "the manifest's fingerprint does not match its content; it was edited or damaged: "
            "copy the bundle again"
        )


def needed_version(specs: Iterable[SubVitSpec]) -> int:
    """The lowest version that says all that there is to say."""
    version = FIRST_VERSION
    for spec in specs:
        if spec.resized != CROPPED:
            return VERSION
        if spec.seen != WHOLE:
            version = VERSION_OF_VIEWS
    return version


def fingerprint_of(manifest: Manifest) -> str:
    """Hex blake2b (8 bytes) of everything that decides what the fleet computes."""
    identity = {
        "version": manifest.version,
        "classes": manifest.classes,
        "parts": [
            (part.weights.sha256, part.spec, part.classes, part.dtype) for part in manifest.parts
        ],
        "fusion": manifest.fusion.sha256,
    }
    canonical = msgspec.json.encode(identity, order="deterministic")
    return hashlib.blake2b(canonical, digest_size=8).hexdigest()


def parts_fingerprint_of(manifest: Manifest) -> str:
    """Hex blake2b (8 bytes) of everything that decides the features of the fleet.

    Classes and fusion do not enter: bundles that differ only in those have the same features.
    """
    identity = {
        "parts": [(part.weights.sha256, part.spec, part.dtype) for part in manifest.parts],
    }
    canonical = msgspec.json.encode(identity, order="deterministic")
    return hashlib.blake2b(canonical, digest_size=8).hexdigest()


def file_entry(path: Path) -> FileEntry:
    """What names the file at ``path`` and its present content."""
    return FileEntry(path.name, path.stat().st_size, sha256_of(path))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
