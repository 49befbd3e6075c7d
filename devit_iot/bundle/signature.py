"""Signatures of bundles: Ed25519 (RFC 8032) over the manifest's bytes. Normative: docs/bundle.md.

The manifest names every file with its SHA-256, so one signature covers the bundle.
"""

import re

from devit_iot.errors import BundleError, ConfigError

SIGNATURE = "manifest.sig"
SIGNATURE_BYTES = 64
_PUBLIC_KEY = re.compile(r"[0-9a-f]{64}")
_MISSING = "signatures need cryptography: pip install 'devit-iot[signed]'"


def check_trust(key: str) -> str:
    """Return ``key`` if it can be a public key, 32 bytes in hex, else raise ConfigError."""
    if not _PUBLIC_KEY.fullmatch(key):
        raise ConfigError(
            f"trust '{key[:100]}' is no public key: 64 hex digits, as `devit bundle keygen` prints"
        )
    return key


def new_key() -> bytes:
    """A private key, as PEM (PKCS 8)."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError as error:
        raise ConfigError(_MISSING) from error
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def sign(key: bytes, manifest: bytes) -> tuple[bytes, str]:
    """The signature of ``manifest`` by a private key in PEM, and the public key in hex.

    Raises:
        ConfigError: ``key`` is no Ed25519 key in PEM without a password.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise ConfigError(_MISSING) from error
    try:
        private = load_pem_private_key(key, password=None)
    except Exception as error:  # many types: a wrong format, a password, a key of another kind
        raise ConfigError(f"no private key in PEM without a password: {error}") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigError("no Ed25519 key; `devit bundle keygen` makes one")
    return private.sign(manifest), private.public_key().public_bytes_raw().hex()


def verify(trust: str, manifest: bytes, signature: bytes) -> bool:
    """Whether ``signature`` of ``manifest`` is by the owner of the public key ``trust``.

    Raises:
        BundleError: the library that could tell is not installed.
    """
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise BundleError(_MISSING) from error
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(trust)).verify(signature, manifest)
    except InvalidSignature:
        return False
    return True
