"""TLS without a broker: bad files are named, and what ends a handshake is told."""

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from devit_iot.config.config import BrokerConfig
from devit_iot.errors import BrokerError, ConfigError
from devit_iot.fleet import authority
from devit_iot.fleet.authority import Pair
from devit_iot.transport.tls import client_context
from tests.support.mosquitto import Client
from tests.support.tls_server import TlsServer


@pytest.fixture(scope="module")
def root() -> Pair:
    return authority.new_authority()


@pytest.fixture
def files(tmp_path: Path, root: Pair) -> dict[str, str]:
    """Settings that work."""
    client = authority.new_client(root, "pi-0")
    contents = {"ca_file": root.certificate, "cert_file": client[0], "key_file": client[1]}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: str(tmp_path / name) for name in contents}


def test_good_files(files: dict[str, str]) -> None:
    context = client_context(BrokerConfig(**files))  # type: ignore[arg-type]
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("name", ["ca_file", "cert_file", "key_file"])
@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_a_bad_file_is_named(files: dict[str, str], name: str, content: bytes | None) -> None:
    if content is None:
        Path(files[name]).unlink()
    else:
        Path(files[name]).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"broker\.{name} {files[name]}"):
        client_context(BrokerConfig(**files))  # type: ignore[arg-type]


def test_a_key_of_another_certificate(files: dict[str, str], root: Pair) -> None:
    Path(files["key_file"]).write_bytes(authority.new_client(root, "pi-0").key)
    with pytest.raises(ConfigError, match="mismatch"):
        client_context(BrokerConfig(**files))  # type: ignore[arg-type]


def test_a_locked_key_asks_nobody(files: dict[str, str]) -> None:
    """OpenSSL would ask on the terminal, and a service would hang."""
    path = Path(files["key_file"])
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    lock = serialization.BestAvailableEncryption(b"word")
    path.write_bytes(key.private_bytes(pem, pkcs8, lock))
    with pytest.raises(ConfigError, match="cannot use"):
        client_context(BrokerConfig(**files))  # type: ignore[arg-type]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("mine", "problem"),
    [(False, "ends the connection.*if it wants certificates"), (True, "refuses our certificate")],
)
def test_a_server_that_wants_another_certificate(
    files: dict[str, str], tmp_path: Path, root: Pair, version: ssl.TLSVersion, *, mine: bool,
    problem: str,
) -> None:  # fmt: skip
    """TLS 1.2 says so in the handshake, TLS 1.3 after it."""
    server = TlsServer(tmp_path, authority.new_server(root, ["localhost"]))
    server.want(authority.new_authority("another"), version)
    chosen = files if mine else {"ca_file": files["ca_file"]}
    config = BrokerConfig(url=f"mqtts://localhost:{server.port}", **chosen)  # type: ignore[arg-type]
    with server, pytest.raises(BrokerError, match=problem):
        Client(config, client_id="pi-0").__enter__()
    assert server.told == b""


def test_without_a_file_the_systems_authorities_count(tmp_path: Path, root: Pair) -> None:
    with TlsServer(tmp_path, authority.new_server(root, ["localhost"])) as server:
        config = BrokerConfig(url=f"mqtts://localhost:{server.port}")
        with pytest.raises(BrokerError, match="not trusted"):
            Client(config, client_id="pi-0").__enter__()
    assert server.told == b""
