"""Files of a bundle or a head that are believed only after a check: size, SHA-256, signature."""

from pathlib import Path

from devit_iot.bundle.manifest import FileEntry, sha256_of
from devit_iot.bundle.signature import SIGNATURE_BYTES, verify
from devit_iot.errors import BundleError

MAX_MANIFEST_BYTES = 16 * 2**20


def read_manifest(path: Path, what: str) -> bytes:
    """The bytes of the manifest at ``path``, at most 16 MiB of them.

    Args:
        path: path of the manifest.
        what: ``bundle`` or ``head``, for messages.

    Raises:
        BundleError: it cannot be read, or is larger than any manifest.
    """
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise BundleError(f"{path} is larger than any manifest; this is not a {what}")
        return path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path.parent} is not a {what}: cannot read {path.name} ({error.strerror})"
        ) from error


def verified(folder: Path, entry: FileEntry, what: str) -> Path:
    """The path of a file that a manifest names.

    Raises:
        BundleError: the file is missing, or its size or SHA-256 is another one.
    """
    path = folder / entry.file
    if not path.is_file():
        raise BundleError(f"{path} is missing; copy the whole {what} again")
    if path.stat().st_size != entry.size or sha256_of(path) != entry.sha256:
        raise BundleError(
            f"{path} is not the file that the manifest names (size or SHA-256 differ); "
            f"copy the {what} again"
        )
    return path


def check_signature(signature: Path, signed: Path, text: bytes, trust: str, what: str) -> None:
    """Raise BundleError unless ``signature`` is one of ``text`` by the public key ``trust``.

    Args:
        signature: the file with the 64 bytes.
        signed: the file that holds ``text``, for messages.
        text: what was signed.
        trust: public key, 64 hex digits.
        what: ``bundle`` or ``head``, for messages.
    """
    try:
        with signature.open("rb") as file:
            found = file.read(SIGNATURE_BYTES + 1)
    except OSError as error:
        raise BundleError(
            f"{signed.parent} is not signed ({signature.name}: {error.strerror}), and only "
            f"{what}s signed by {trust} are to be trusted; sign it with `devit bundle sign`"
        ) from error
    if not verify(trust, text, found):
        raise BundleError(
            f"{signature} is no signature of {signed.name} by {trust}: the {what} was changed, or "
            "signed with another key"
        )
