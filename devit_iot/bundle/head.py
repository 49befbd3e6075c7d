"""A head: classes and matrices that answer one question from the features of a bundle's parts.

Normative: docs/bundle.md. A bundle's own fusion is its head ``default``. Further ones lie in
``heads/<name>/<version>/`` beside it; ``heads/<name>/current`` holds the version that is live, so
that a version is changed, or changed back, by replacing one small file. ``heads/<name>/before``
holds the version that was live before.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from devit_iot.bundle.checked_file import check_signature, read_manifest, verified
from devit_iot.bundle.manifest import MAX_CLASSES, MAX_NAME_LENGTH, FileEntry
from devit_iot.bundle.reading import Bundle, Tensors
from devit_iot.bundle.spec import FusionSpec
from devit_iot.bundle.storage import Array
from devit_iot.errors import BundleError, ConfigError
from devit_iot.protocol.crop import Crop
from devit_iot.protocol.label import DEFAULT_HEAD
from devit_iot.protocol.text import is_plain

FORMAT = "devit-head"
VERSION = 1
FOLDER = "heads"
CURRENT = "current"
BEFORE = "before"
HEAD = "head.json"
SIGNATURE = "head.sig"
TENSORS = "head.safetensors"

_MIN_CLASSES = 2
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_VERSION = re.compile(r"[0-9a-f]{16}")


class Fit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a head was fitted, and how well it does; for people, nothing is computed from it.

    Attributes:
        method: how it was fitted, in words for people.
        images: number of images of each class that it was fitted on.
        strength: inverse of the regularisation's weight.
        temperature: divisor of the class scores; matrices and bias hold the quotient.
        measured: number of images that the accuracy was measured on; no fit that was asked about
            an image had seen it.
        accuracy: share of them whose most probable class is the true one.
    """

    method: str
    images: tuple[int, ...]
    strength: float
    temperature: float
    measured: int
    accuracy: float


class HeadManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of head.json."""

    format: str
    version: int
    name: str
    fingerprint: str
    parts: str
    classes: tuple[str, ...]
    tensors: FileEntry
    unknown: float
    fit: Fit
    provenance: dict[str, str] = {}
    crop: Crop | msgspec.UnsetType = msgspec.UNSET  # unset: heads without one keep their bytes


class Head(NamedTuple):
    """What answers one question.

    Attributes:
        name: name of the head; ``default`` for the bundle's own fusion.
        version: its fingerprint, 16 hex digits; the bundle's for ``default``.
        classes: names, by index.
        feature_dims: length of each part's feature.
        tensors: what :meth:`devit_iot.bundle.spec.FusionSpec.tensors` lists, by name.
        unknown: an answer whose probability is below it is ``unknown``; 0 if none ever is.
        crop: rectangle of the image that it was taught on; None: the whole image.
    """

    name: str
    version: str
    classes: tuple[str, ...]
    feature_dims: tuple[int, ...]
    tensors: Mapping[str, Array]
    unknown: float
    crop: Crop | None = None


def check_head_name(name: str) -> str:
    """Return ``name`` if a head can be called so, else raise ConfigError."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"head '{name[:MAX_NAME_LENGTH]}' is no usable name: use 1 to 64 of A-Z a-z 0-9 _ -, "
            "a letter or digit first"
        )
    return name


def head_names(bundle: Bundle) -> tuple[str, ...]:
    """Every head that the bundle's folder holds: ``default`` first, then the others by name."""
    found = (path.parent.name for path in (bundle.path / FOLDER).glob(f"*/{CURRENT}"))
    return (DEFAULT_HEAD, *sorted(name for name in found if _NAME.fullmatch(name)))


def read_head(bundle: Bundle, name: str) -> Head:
    """The version of the head ``name`` that is live, verified.

    Raises:
        ConfigError: no head can be called so.
        BundleError: there is no such head, it belongs to other parts, is damaged or inconsistent,
            or lacks the signature that the bundle's ``trust`` asks for.
    """
    if check_head_name(name) == DEFAULT_HEAD:
        manifest = bundle.manifest
        return Head(
            name,
            manifest.fingerprint,
            manifest.classes,
            manifest.fusion_spec.feature_dims,
            bundle.fusion_tensors(),
            0.0,
        )
    return read_version(bundle, name, current_folder(bundle, name).name)


def read_version(bundle: Bundle, name: str, version: str) -> Head:
    """One version of a head other than ``default``, verified; live or not.

    Raises:
        BundleError: as :func:`read_head` says.
    """
    folder = bundle.path / FOLDER / name / version
    text = read_manifest(folder / HEAD, "head")
    if bundle.trust:
        check_signature(folder / SIGNATURE, folder / HEAD, text, bundle.trust, "head")
    head = decode_head(folder / HEAD, text)
    if head.fingerprint != folder.name:
        raise BundleError(
            f"{folder / HEAD}: its fingerprint does not match its folder; copy or teach the head "
            "again"
        )
    check_parts(bundle, name, head)
    dims = bundle.manifest.fusion_spec.feature_dims
    expected = FusionSpec(len(head.classes), dims).tensors()
    tensors = Tensors(verified(folder, head.tensors, "head"), expected)
    crop = None if head.crop is msgspec.UNSET else head.crop
    return Head(name, head.fingerprint, head.classes, dims, tensors, head.unknown, crop)


def check_parts(bundle: Bundle, name: str, head: HeadManifest) -> None:
    """Raise BundleError unless a head belongs to the parts of ``bundle``."""
    if head.parts != bundle.parts_fingerprint.hex():
        raise BundleError(
            f"head '{name}' belongs to parts {head.parts}, bundle '{bundle.manifest.name}' has "
            f"parts {bundle.parts_fingerprint.hex()}: teach it again on this bundle"
        )


def live_version(bundle: Bundle, name: str) -> str:
    """The version of ``name`` that is live, 16 hex digits; nothing else of it is looked at.

    Raises:
        BundleError: there is no such head, or what names its version is damaged.
    """
    if name == DEFAULT_HEAD:
        return bundle.manifest.fingerprint
    return current_folder(bundle, name).name


def version_before(bundle: Bundle, name: str) -> str:
    """The version of ``name`` that was live before, 16 hex digits; empty if none is known."""
    try:
        text = (bundle.path / FOLDER / name / BEFORE).read_bytes()[:64]
    except OSError:
        return ""
    version = text.decode("ascii", "replace").strip()
    return version if _VERSION.fullmatch(version) else ""


def current_folder(bundle: Bundle, name: str) -> Path:
    """The folder of the version of ``name`` that is live.

    Raises:
        BundleError: there is no such head, or what names its version is damaged.
    """
    path = bundle.path / FOLDER / name / CURRENT
    try:
        version = path.read_bytes()[:64].decode("ascii", "replace").strip()
    except OSError as error:
        others = ", ".join(head_names(bundle))
        raise BundleError(
            f"bundle '{bundle.manifest.name}' has no head '{name}' ({path}: {error.strerror}); "
            f"it has: {others}"
        ) from error
    if not _VERSION.fullmatch(version):
        raise BundleError(
            f"{path} names no version of the head, 16 hex digits; write the name of a folder "
            "beside it"
        )
    return path.parent / version


def decode_head(path: Path | str, text: bytes) -> HeadManifest:
    """Decode and check a head's manifest.

    Args:
        path: where the text comes from, for messages.
        text: content of head.json.

    Raises:
        BundleError: it does not parse, or it is of another version, or inconsistent.
    """
    try:
        start = msgspec.json.decode(text, type=dict[str, object])
        if (start.get("format"), start.get("version")) != (FORMAT, VERSION):
            raise BundleError(
                f"{path} is {start.get('format')} version {start.get('version')}, this release "
                f"reads {FORMAT} version {VERSION}; teach the head again with this release"
            )
        head = msgspec.json.decode(text, type=HeadManifest)
        _validate(path, head)
        if head.crop is not msgspec.UNSET:
            head.crop.check()
    except (msgspec.DecodeError, ValueError, RecursionError, OverflowError) as error:
        raise BundleError(f"{path} does not parse: {error}") from error
    return head


def _validate(path: Path | str, head: HeadManifest) -> None:
    names = (head.name, *head.classes)
    rules = (
        (
            _MIN_CLASSES <= len(head.classes) <= MAX_CLASSES,
            f"a head has 2 to {MAX_CLASSES} classes",
        ),
        (len(set(head.classes)) == len(head.classes), "a class is named twice"),
        (all(is_plain(name, MAX_NAME_LENGTH) for name in names), "a name cannot be printed"),
        (head.tensors.file == TENSORS, f"its tensors are not in {TENSORS}"),
        (0 <= head.unknown < 1, "unknown is no probability below 1"),
        (
            head.fingerprint == head_fingerprint(head),
            "its fingerprint does not match its content; it was edited or damaged",
        ),
    )
    for holds, problem in rules:
        if not holds:
            raise BundleError(f"{path}: {problem}; copy or teach the head again")


def head_fingerprint(head: HeadManifest) -> str:
    """Hex blake2b (8 bytes) of the whole manifest but the fingerprint itself."""
    rest = msgspec.structs.replace(head, fingerprint="")
    return hashlib.blake2b(msgspec.json.encode(rest), digest_size=8).hexdigest()
