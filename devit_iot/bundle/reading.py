"""A fleet bundle on disk: a folder with a JSON manifest and safetensors files.

A board needs the manifest and the file of its own part; the aggregator needs the manifest and the
fusion.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from devit_iot.bundle.manifest import MANIFEST, FileEntry, PartEntry, decode_manifest, sha256_of
from devit_iot.bundle.signature import SIGNATURE, SIGNATURE_BYTES, verify
from devit_iot.bundle.spec import SubVitSpec, TensorSpec
from devit_iot.bundle.storage import Array, Storage, stored, unpack
from devit_iot.bundle.tensor_file import TensorFile
from devit_iot.errors import BundleError

_MAX_MANIFEST_BYTES = 16 * 2**20


class Tensors(Mapping[str, Array]):
    """The tensors of one verified file, each read from the memory map when it is asked for.

    Halves and bytes are read as float32, unless asked for by :meth:`packed`.

    Attributes:
        storage: dtype in which the file holds the matrices.
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


class Part(msgspec.Struct, frozen=True):
    """One part of a bundle, its file verified: all that an engine is made of.

    Attributes:
        folder: the bundle's folder; formats that an engine has of its own have their files there.
        index: the part's number.
        entry: the manifest's entry of the part.
        tensors: the engine tensors (:func:`devit_iot.bundle.spec.tensors`) and the golden pair.
    """

    folder: Path
    index: int
    entry: PartEntry
    tensors: Tensors

    @property
    def spec(self) -> SubVitSpec:
        """The part's shape."""
        return self.entry.spec

    @property
    def dtype(self) -> Storage:
        """What its matrices are stored in."""
        return self.entry.dtype


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
        self.manifest = decode_manifest(path / MANIFEST, text)

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

    def read_part(self, index: int) -> Part:
        """Part ``index``, after its file was verified."""
        entry = self.part(index)
        expected = (*entry.spec.tensors(), *entry.spec.golden_tensors())
        tensors = Tensors(self._verified(entry.weights), expected, entry.dtype)
        return Part(self.path, index, entry, tensors)

    def fusion_tensors(self) -> Tensors:
        """The verified tensors of the fusion."""
        expected = self.manifest.fusion_spec.tensors()
        return Tensors(self._verified(self.manifest.fusion), expected)

    def verify(self) -> None:
        """Check every file of the bundle, as a fleet's owner would before copying it."""
        for index in range(len(self.manifest.parts)):
            self.read_part(index)
        self.fusion_tensors()

    def _verified(self, entry: FileEntry) -> Path:
        path = self.path / entry.file
        if not path.is_file():
            raise BundleError(f"{path} is missing; copy the whole bundle again")
        if path.stat().st_size != entry.size or sha256_of(path) != entry.sha256:
            raise BundleError(
                f"{path} is not the file that the manifest names (size or SHA-256 differ); "
                "copy the bundle again"
            )
        return path


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
