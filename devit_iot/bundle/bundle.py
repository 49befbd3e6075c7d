"""The fleet bundle: a folder with a JSON manifest and safetensors files. Normative: docs/bundle.md.

A board needs the manifest and the file of its own part; the aggregator needs the manifest and the
fusion. Every file is named with its size and SHA-256, and the fingerprint ties them together: a
feature made with one bundle is never fused with the matrices of another.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from devit_iot.bundle import spec as shapes
from devit_iot.bundle.signature import SIGNATURE, SIGNATURE_BYTES, verify
from devit_iot.bundle.spec import FusionSpec, SubVitSpec, TensorSpec
from devit_iot.bundle.storage import Array, Storage, pack, stored, unpack
from devit_iot.bundle.tensor_file import TensorFile, write_tensors
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
_MAX_MANIFEST_BYTES = 16 * 2**20
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


class PartData(msgspec.Struct, frozen=True):
    """What :func:`write_bundle` needs of one part.

    Attributes:
        spec: its shape.
        classes: those that it was made for.
        tensors: as engines take them, the golden pair too. With float16 they are those that
            :func:`devit_iot.bundle.storage.as_stored` gives, and so is the golden feature made
            with them.
        dtype: of its matrices on disk.
    """

    spec: SubVitSpec
    classes: tuple[int, ...]
    tensors: Mapping[str, Array]
    dtype: Storage = "float32"


class Tensors(Mapping[str, Array]):
    """The tensors of one verified file, each read from the memory map when it is asked for.

    Halves and bytes are read as float32, unless asked for by :meth:`packed`.

    Attributes:
        storage: of the matrices in the file.
    """

    def __init__(
        self, path: Path, expected: Iterable[TensorSpec], storage: Storage = "float32"
    ) -> None:
        self.storage = storage
        self._specs = {tensor.name: tensor for tensor in expected}
        self._file = TensorFile(path)
        held = [held for tensor in self._specs.values() for held in stored(tensor, storage)]
        missing = {tensor.name for tensor in held} - set(self._file.specs)
        if missing:
            raise BundleError(f"{path} lacks tensor '{min(missing)}'; export the bundle again")
        for tensor in held:
            found = self._file.specs[tensor.name]
            if found != tensor:
                raise BundleError(f"{path}: tensor '{tensor.name}' is {found}, expected {tensor}")

    def __getitem__(self, name: str) -> Array:
        tensor = self._specs[name]  # a KeyError for a name that the spec does not have
        return unpack(tensor, self._file.read, self.storage)

    def packed(self, name: str) -> dict[str, Array]:
        """What :func:`devit_iot.bundle.storage.stored` made of a tensor, as the file holds it."""
        held = stored(self._specs[name], self.storage)
        return {tensor.name: self._file.read(tensor.name) for tensor in held}

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)


class Bundle:
    """A bundle on disk. Opening reads the manifest only; files are verified when first used.

    Args:
        path: the bundle's folder.
        trust: public key in hex that must have signed the manifest; empty: none need have.

    Attributes:
        path: the bundle's folder.
        manifest: the decoded and validated manifest.

    Raises:
        BundleError: the folder, the manifest or a file is missing, damaged or inconsistent, or
            the signature that ``trust`` asks for.
    """

    def __init__(self, path: Path, *, trust: str = "") -> None:
        self.path = path
        text = _read_manifest(path / MANIFEST)
        if trust:
            _check_signature(path, text, trust)
        self.manifest = _decode_manifest(path / MANIFEST, text)

    @property
    def fingerprint(self) -> bytes:
        """The 8 bytes that every feature made with this bundle carries."""
        return bytes.fromhex(self.manifest.fingerprint)

    def part(self, index: int) -> PartEntry:
        """The manifest's entry of part ``index``."""
        if not 0 <= index < len(self.manifest.parts):
            raise BundleError(
                f"bundle '{self.manifest.name}' has parts 0 to {len(self.manifest.parts) - 1}, "
                f"there is no part {index}"
            )
        return self.manifest.parts[index]

    def part_tensors(self, index: int) -> Tensors:
        """The verified tensors of one part, golden image and feature included."""
        entry = self.part(index)
        expected = (*shapes.tensors(entry.spec), *shapes.golden_tensors(entry.spec))
        return Tensors(self._verified(entry.weights), expected, entry.dtype)

    def fusion_tensors(self) -> Tensors:
        """The verified tensors of the fusion."""
        expected = shapes.fusion_tensors(self.manifest.fusion_spec)
        return Tensors(self._verified(self.manifest.fusion), expected)

    def verify(self) -> None:
        """Check every file of the bundle, as a fleet's owner would before copying it."""
        for index in range(len(self.manifest.parts)):
            self.part_tensors(index)
        self.fusion_tensors()

    def _verified(self, entry: FileEntry) -> Path:
        path = self.path / entry.file
        if not path.is_file():
            raise BundleError(f"{path} is missing; copy the whole bundle again")
        if path.stat().st_size != entry.size or _sha256(path) != entry.sha256:
            raise BundleError(
                f"{path} is not the file that the manifest names (size or SHA-256 differ); "
                "copy the bundle again"
            )
        return path


def write_bundle(
    path: Path,
    *,
    name: str,
    classes: Sequence[str],
    parts: Sequence[PartData],
    fusion: Mapping[str, Array],
    provenance: Mapping[str, str],
) -> Bundle:
    """Write a bundle into the new folder ``path`` and return it, verified.

    Raises:
        BundleError: ``path`` already holds something, a tensor does not match its spec, or a
            matrix is not what :func:`devit_iot.bundle.storage.as_stored` gives.
    """
    import shutil  # brings all compression formats: a node that starts needs none

    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise BundleError(f"{path} exists already; remove it or choose another output")
    staging = path.with_name(path.name + ".partial")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    entries = []
    for index, part in enumerate(parts):
        expected = (*shapes.tensors(part.spec), *shapes.golden_tensors(part.spec))
        target = staging / f"part-{index}.safetensors"
        file = _write_tensors(target, part.tensors, expected, part.dtype)
        entries.append(PartEntry(file, part.spec, part.classes, part.dtype))
    fusion_spec = FusionSpec(len(classes), tuple(part.spec.feature_dim for part in parts))
    manifest = Manifest(
        FORMAT,
        _version(part.spec for part in parts),
        name,
        "",
        tuple(classes),
        tuple(entries),
        _write_tensors(staging / "fusion.safetensors", fusion, shapes.fusion_tensors(fusion_spec)),
        dict(provenance),
    )
    manifest = msgspec.structs.replace(manifest, fingerprint=_fingerprint(manifest))
    (staging / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
    Bundle(staging).verify()
    if path.exists():
        path.rmdir()
    staging.rename(path)
    return Bundle(path)


def _read_manifest(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise BundleError(f"{path} is larger than any manifest; this is not a bundle")
        return path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path.parent} is not a bundle: cannot read {path.name} ({error.strerror})"
        ) from error


def _check_signature(folder: Path, manifest: bytes, trust: str) -> None:
    path = folder / SIGNATURE
    try:
        with path.open("rb") as file:
            signature = file.read(SIGNATURE_BYTES + 1)
    except OSError as error:
        raise BundleError(
            f"{folder} is not signed ({SIGNATURE}: {error.strerror}), and only bundles signed by "
            f"{trust} are to be trusted; sign it with `devit bundle sign`"
        ) from error
    if not verify(trust, manifest, signature):
        raise BundleError(
            f"{path} is no signature of {MANIFEST} by {trust}: the bundle was changed, or signed "
            "with another key"
        )


def _decode_manifest(path: Path, text: bytes) -> Manifest:
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
        needed = _version(part.spec for part in manifest.parts)
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
    if manifest.fingerprint != _fingerprint(manifest):
        raise BundleError(
            "the manifest's fingerprint does not match its content; it was edited or damaged: "
            "copy the bundle again"
        )


def _version(specs: Iterable[SubVitSpec]) -> int:
    """The lowest version that says all that there is to say."""
    version = FIRST_VERSION
    for spec in specs:
        if spec.resized != shapes.CROPPED:
            return VERSION
        if spec.seen != shapes.WHOLE:
            version = VERSION_OF_VIEWS
    return version


def _fingerprint(manifest: Manifest) -> str:
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


def _write_tensors(
    path: Path,
    values: Mapping[str, Array],
    expected: Iterable[TensorSpec],
    storage: Storage = "float32",
) -> FileEntry:
    arrays: dict[str, Array] = {}
    for tensor in expected:
        array = values.get(tensor.name)
        if array is None or (array.shape, array.dtype.name) != (tensor.shape, tensor.dtype):
            found = None if array is None else (array.shape, array.dtype.name)
            raise BundleError(f"tensor '{tensor.name}': expected {tensor}, got {found}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BundleError(f"tensor '{tensor.name}' holds NaN or infinity")
        packed = pack(tensor, array, storage)
        if not np.array_equal(unpack(tensor, packed.__getitem__, storage), array):
            raise BundleError(
                f"tensor '{tensor.name}' is not rounded to {storage}, so the golden feature was "
                "not made with it; use as_stored()"
            )
        arrays |= packed
    write_tensors(path, arrays)
    return file_entry(path)


def file_entry(path: Path) -> FileEntry:
    """What names the file at ``path`` and its present content."""
    return FileEntry(path.name, path.stat().st_size, _sha256(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
