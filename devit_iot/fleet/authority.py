"""A fleet's certificate authority: X.509 (RFC 5280) with keys on P-256, and a revocation list.

Names stand in the common name. A certificate serves one purpose only: a node's cannot pass for the
broker's, nor the other way round.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from devit_iot.errors import ConfigError

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError as missing:
    raise ConfigError("certificates need cryptography: pip install 'devit-iot[fleet]'") from missing

AUTHORITY_DAYS = 20 * 365
MEMBER_DAYS = 10 * 365
BACKDATED_DAYS = 365
"""Boards have no battery for their clock; before they reach a time server it shows the past."""


class Pair(NamedTuple):
    """A certificate and its private key, as PEM."""

    certificate: bytes
    key: bytes

    @property
    def serial(self) -> int:
        """The certificate's number, unique for its authority."""
        return x509.load_pem_x509_certificate(self.certificate).serial_number


def new_authority(name: str = "devit fleet authority") -> Pair:
    """A certificate that signs itself, and others."""
    key = ec.generate_private_key(ec.SECP256R1())
    usage = _usage(digital_signature=False, key_cert_sign=True, crl_sign=True)
    builder = (
        _builder(name, key.public_key(), timedelta(days=AUTHORITY_DAYS))
        .issuer_name(_name(name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )
    return _signed(builder, key, key)


def new_server(authority: Pair, hosts: Sequence[str], life_days: float = MEMBER_DAYS) -> Pair:
    """A certificate for a broker that is reached by these names or addresses."""
    names = x509.SubjectAlternativeName([_host(host) for host in hosts])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return _member(authority, "broker", usage, life_days, names)


def new_peer(authority: Pair, hosts: Sequence[str], life_days: float = MEMBER_DAYS) -> Pair:
    """A certificate by which the brokers of a cluster call each other, and answer."""
    names = x509.SubjectAlternativeName([_host(host) for host in hosts])
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    return _member(authority, "broker", both, life_days, names)


def new_client(authority: Pair, name: str, life_days: float = MEMBER_DAYS) -> Pair:
    """A certificate for one client. ``life_days`` counts from now and may be negative."""
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    return _member(authority, name, usage, life_days)


def revocation_list(authority: Pair, serials: Iterable[int]) -> bytes:
    """The list of revoked certificates, as PEM; good for as long as the authority.

    OpenSSL refuses everybody once a list is out of date, so a shorter life would only break fleets.
    """
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now - timedelta(days=BACKDATED_DAYS))
        .next_update(issuer.not_valid_after_utc)
    )
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(_load_key(authority), hashes.SHA256()).public_bytes(_PEM)


_PEM = serialization.Encoding.PEM


def _member(
    authority: Pair,
    name: str,
    purpose: x509.ExtendedKeyUsage,
    life_days: float,
    *more: x509.ExtensionType,
) -> Pair:
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    key = ec.generate_private_key(ec.SECP256R1())
    signer = _load_key(authority)
    of_issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = (
        _builder(name, key.public_key(), timedelta(days=life_days))
        .issuer_name(issuer.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(purpose, critical=False)
        .add_extension(of_issuer, critical=False)
    )
    for extension in more:
        builder = builder.add_extension(extension, critical=False)
    return _signed(builder, signer, key)


def _builder(name: str, key: ec.EllipticCurvePublicKey, life: timedelta) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=BACKDATED_DAYS))
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _signed(
    builder: x509.CertificateBuilder,
    signer: ec.EllipticCurvePrivateKey,
    own: ec.EllipticCurvePrivateKey,
) -> Pair:
    certificate = builder.sign(signer, hashes.SHA256())
    key = own.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Pair(certificate.public_bytes(_PEM), key)


def _load_key(pair: Pair) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pair.key, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"the authority's key is no elliptic curve's but {type(key).__name__}")
    return key


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(
    *, digital_signature: bool, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
