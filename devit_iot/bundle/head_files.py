"""A head as the contents of its files: packed by who fits it, checked by who gets it."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from devit_iot.bundle.checked_file import read_manifest
from devit_iot.bundle.head import (
    FORMAT,
    HEAD,
    SIGNATURE,
    TENSORS,
    VERSION,
    Fit,
    HeadManifest,
    check_head_name,
    check_parts,
    decode_head,
    head_fingerprint,
)
from devit_iot.bundle.manifest import FileEntry
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.signature import sign, verify
from devit_iot.bundle.spec import FusionSpec
from devit_iot.bundle.storage import Array
from devit_iot.bundle.tensor_file import pack_tensors
from devit_iot.errors import BundleError, ConfigError
from devit_iot.protocol.crop import Crop
from devit_iot.protocol.label import DEFAULT_HEAD


class HeadFiles(NamedTuple):
    """The contents of a version's files.

    Attributes:
        manifest: content of head.json.
        signature: content of head.sig; empty if the head is not signed.
        tensors: content of head.safetensors.
    """

    manifest: bytes
    signature: bytes
    tensors: bytes

    @property
    def by_name(self) -> dict[str, bytes]:
        """The files by their names; the signature only if there is one."""
        files = {HEAD: self.manifest, TENSORS: self.tensors}
        return files | {SIGNATURE: self.signature} if self.signature else files


class PartsOfHead(NamedTuple):
    """The parts that a head belongs to.

    Attributes:
        fingerprint: fingerprint of the parts, 16 hex digits.
        feature_dims: length of each part's feature.
    """

    fingerprint: str
    feature_dims: tuple[int, ...]


def pack_head(  # noqa: PLR0913 - one for each field of the file
    parts: PartsOfHead,
    name: str,
    *,
    classes: Sequence[str],
    tensors: Mapping[str, Array],
    unknown: float,
    fit: Fit,
    provenance: Mapping[str, str],
    key: bytes = b"",
    crop: Crop | None = None,
) -> HeadFiles:
    """Make the files of a head.

    Args:
        parts: parts that make the features.
        name: name of the head.
        classes: at least two names.
        tensors: what :meth:`devit_iot.bundle.spec.FusionSpec.tensors` lists, by name, float32.
        unknown: see :class:`devit_iot.bundle.head.Head`.
        fit: how it was fitted.
        provenance: for people.
        key: private key in PEM that signs it; empty: it is not signed.
        crop: rectangle of the image that it was taught on; None: the whole image.

    Raises:
        ConfigError: no head can be called so, or the key is none.
        BundleError: a tensor has another shape, or the classes are no classes of a head.
    """
    if check_head_name(name) == DEFAULT_HEAD:
        raise ConfigError(f"'{DEFAULT_HEAD}' is the bundle's own fusion; choose another name")
    for tensor in FusionSpec(len(classes), parts.feature_dims).tensors():
        array = tensors[tensor.name]
        if (array.shape, array.dtype.name) != (tensor.shape, tensor.dtype):
            raise BundleError(f"tensor '{tensor.name}': expected {tensor}, got {array.shape}")
        if not np.isfinite(array).all():
            raise BundleError(f"tensor '{tensor.name}' holds NaN or infinity")
    packed = pack_tensors(tensors)
    entry = FileEntry(TENSORS, len(packed), hashlib.sha256(packed).hexdigest())
    head = HeadManifest(
        FORMAT,
        VERSION,
        name,
        "",
        parts.fingerprint,
        tuple(classes),
        entry,
        unknown,
        fit,
        dict(provenance),
        msgspec.UNSET if crop is None else crop,
    )
    head = msgspec.structs.replace(head, fingerprint=head_fingerprint(head))
    text = msgspec.json.format(msgspec.json.encode(head)) + b"\n"
    decode_head(f"head '{name}'", text)
    return HeadFiles(text, sign(key, text)[0] if key else b"", packed)


def read_files(folder: Path) -> tuple[HeadManifest, HeadFiles]:
    """The files in the folder of one version, not checked beyond what ``head.json`` says.

    Raises:
        BundleError: a file is missing, or ``head.json`` does not parse.
    """
    text = read_manifest(folder / HEAD, "head")
    head = decode_head(folder / HEAD, text)
    signature = folder / SIGNATURE
    try:
        signed = signature.read_bytes() if signature.is_file() else b""
        return head, HeadFiles(text, signed, (folder / TENSORS).read_bytes())
    except OSError as error:
        raise BundleError(f"cannot read the head in {folder}: {error.strerror}") from error


def check_files(bundle: Bundle, files: HeadFiles, name: str) -> HeadManifest:
    """Check a head that came from elsewhere, before any of it is written.

    Args:
        bundle: bundle beside which it is to lie; its ``trust`` must have signed the head.
        files: what came.
        name: name of the head that it came as.

    Raises:
        BundleError: it is damaged, not signed as the bundle asks for, of another name, or belongs
            to other parts.
    """
    head = decode_head(f"head '{name}'", files.manifest)
    if bundle.trust and not verify(bundle.trust, files.manifest, files.signature):
        raise BundleError(
            f"head '{name}' is not signed by {bundle.trust}: sign it with `devit bundle sign`, or "
            "teach it with --key"
        )
    if head.name != name:
        raise BundleError(f"head '{name}' says that it is '{head.name}'")
    check_parts(bundle, name, head)
    entry = head.tensors
    if len(files.tensors) != entry.size or hashlib.sha256(files.tensors).hexdigest() != (
        entry.sha256
    ):
        raise BundleError(f"head '{name}' is damaged: its tensors are not those that it names")
    return head
