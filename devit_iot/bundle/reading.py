"""A fleet bundle on disk: a folder with a JSON manifest and safetensors files.

A board needs the manifest and the file of its own part; the aggregator needs the manifest and the
fusion.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from devit_iot.bundle.checked_file import check_signature, read_manifest, verified
from devit_iot.bundle.manifest import (
    MANIFEST,
    PartEntry,
    decode_manifest,
    parts_fingerprint_of,
)
from devit_iot.bundle.signature import SIGNATURE
from devit_iot.bundle.spec import SubVitSpec, TensorSpec
from devit_iot.bundle.storage import Array, Storage, stored, unpack
from devit_iot.bundle.tensor_file import TensorFile
from devit_iot.errors import BundleError


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
        trust: the public key that its heads must be signed by too.
        manifest: the decoded and validated manifest.

    Raises:
        BundleError: the folder, the manifest or a file is missing, damaged or inconsistent, or
            the signature that ``trust`` asks for.
    """

    def __init__(self, path: Path, *, trust: str = "") -> None:
        self.path = path
        self.trust = trust
        text = read_manifest(path / MANIFEST, "bundle")
        if trust:
            check_signature(path / SIGNATURE, path / MANIFEST, text, trust, "bundle")
        self.manifest = decode_manifest(path / MANIFEST, text)

    @property
    def fingerprint(self) -> bytes:
        """The 8 bytes that stand for the whole bundle: parts, classes and fusion."""
        return bytes.fromhex(self.manifest.fingerprint)

    @property
    def parts_fingerprint(self) -> bytes:
        """The 8 bytes that stand for the parts alone; equal ones make equal features."""
        return bytes.fromhex(parts_fingerprint_of(self.manifest))

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
        tensors = Tensors(verified(self.path, entry.weights, "bundle"), expected, entry.dtype)
        return Part(self.path, index, entry, tensors)

    def fusion_tensors(self) -> Tensors:
        """The verified tensors of the fusion."""
        expected = self.manifest.fusion_spec.tensors()
        return Tensors(verified(self.path, self.manifest.fusion, "bundle"), expected)

    def verify(self) -> None:
        """Check every file of the bundle, as a fleet's owner would before copying it."""
        for index in range(len(self.manifest.parts)):
            self.read_part(index)
        self.fusion_tensors()
