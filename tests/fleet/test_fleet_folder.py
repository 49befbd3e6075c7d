"""`devit fleet`: what it makes, how private it is, and what it refuses."""

import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from devit_iot.cli.devit import main
from devit_iot.config.config import load_config
from devit_iot.errors import ConfigError
from devit_iot.fleet import authority
from devit_iot.fleet.access import access_list, mosquitto_acl
from devit_iot.fleet.folder import FleetFolder, FleetState
from devit_iot.fleet.parcel import MAX_LINE, paste_line
from devit_iot.protocol.topics import DEFAULT_IMAGE_FILTERS

BROKER = Path(__file__).parents[2] / "broker"
KEY = "ab" * 32


@pytest.fixture
def made(tmp_path: Path) -> FleetFolder:
    return FleetFolder.create(tmp_path / "fleet", FleetState("home", ("hub.local", "192.168.1.2")))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["fleet", *map(str, arguments)])


def modes(path: Path) -> dict[str, int]:
    found = (path, *path.rglob("*"))
    return {str(entry.relative_to(path)): entry.stat().st_mode & 0o777 for entry in found}


def contents(path: Path) -> dict[str, bytes]:
    files = (entry for entry in path.rglob("*") if entry.is_file())
    return {str(entry.relative_to(path)): entry.read_bytes() for entry in files}


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_only_the_owner_may_look(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        fleet = FleetState("home", ("hub",), broker_folder="/srv/mosquitto")
        made = FleetFolder.create(tmp_path / "fleet", fleet)
        made.add("pi-0", "node", 0)
    finally:
        os.umask(before)
    for name, mode in modes(made.path).items():
        assert mode == (0o700 if (made.path / name).is_dir() else 0o600), name


def test_certificates_name_their_owner_and_serve_one_purpose(made: FleetFolder) -> None:
    made.add("pi-0", "node", 0)
    broker = certificate(made.path / "broker" / "broker.crt")
    node = certificate(made.path / "clients" / "pi-0" / "client.crt")
    alternative = broker.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternative.get_values_for_type(x509.DNSName) == ["hub.local"]
    assert [str(a) for a in alternative.get_values_for_type(x509.IPAddress)] == ["192.168.1.2"]
    assert [a.value for a in node.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["pi-0"]
    purposes = {
        broker: ExtendedKeyUsageOID.SERVER_AUTH,
        node: ExtendedKeyUsageOID.CLIENT_AUTH,
    }
    for one, purpose in purposes.items():
        usage = one.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [purpose]
        constraints = one.extensions.get_extension_for_class(x509.BasicConstraints).value
        assert not constraints.ca


def test_dates_suit_boards_without_a_clock(made: FleetFolder) -> None:
    year = timedelta(days=365)
    now = datetime.now(UTC)
    for path in made.path.rglob("*.crt"):
        one = certificate(path)
        assert one.not_valid_before_utc <= now - year
        assert one.not_valid_after_utc >= now + 9 * year
    revocations = x509.load_pem_x509_crl((made.path / "broker" / "crl.pem").read_bytes())
    root = certificate(made.path / "authority" / "ca.crt")
    assert revocations.next_update_utc == root.not_valid_after_utc


def test_the_configuration_of_a_client(tmp_path: Path) -> None:
    patterns = ("yard/{camera}/jpg", 'a "b"/{camera}')
    fleet = FleetState("barn", ("::1",), 9999, patterns, KEY)
    made = FleetFolder.create(tmp_path / "fleet", fleet)
    made.add("pi-3", "node", 3)
    folder = made.path / "clients" / "pi-3"
    config = load_config([folder / "devit.toml"], {})
    assert (config.fleet, config.node_name, config.node.part) == ("barn", "pi-3", 3)
    assert config.broker.url == "mqtts://[::1]:9999"
    assert config.broker.ca_file == str(folder / "ca.crt")
    assert config.broker.cert_file == str(folder / "client.crt")
    assert config.broker.key_file == str(folder / "client.key")
    assert tuple(images.topic for images in config.images) == patterns
    assert config.trust == KEY


def test_the_brokers_files_follow_the_members(made: FleetFolder) -> None:
    made.add("pi-0", "node", 0)
    made.add("door", "camera")
    users = {"aggregator": "aggregator", "camera": "camera", "viewer": "viewer"}
    users |= {"pi-0": "node", "door": "camera"}
    expected = mosquitto_acl(access_list("home", users, DEFAULT_IMAGE_FILTERS))  # type: ignore[arg-type]
    assert (made.path / "broker" / "acl").read_text() == expected
    made.revoke("door")
    assert "user door" not in (made.path / "broker" / "acl").read_text()
    assert FleetFolder(made.path).fleet == made.fleet


def test_the_brokers_configuration_is_the_shipped_one_but_for_the_doors(made: FleetFolder) -> None:
    def settings(text: str) -> set[str]:
        return {line for line in text.splitlines() if line and not line.startswith("#")}

    doors = "allow_anonymous|password_file|acl_file|listener|protocol"
    ours = settings((made.path / "broker" / "mosquitto.conf").read_text())
    shipped = settings((BROKER / "mosquitto.conf").read_text())
    assert shipped - ours == {line for line in shipped if re.match(doors, line)} - ours
    assert ours - shipped == {
        "listener 8883",
        "cafile /etc/mosquitto/ca.crt",
        "certfile /etc/mosquitto/broker.crt",
        "keyfile /etc/mosquitto/broker.key",
        "crlfile /etc/mosquitto/crl.pem",
        "require_certificate true",
        "use_identity_as_username true",
        "use_username_as_clientid true",
    }
    assert "allow_anonymous false" in ours
    assert "acl_file /etc/mosquitto/acl" in ours


def test_adding_twice_changes_nothing(made: FleetFolder) -> None:
    assert made.add("pi-0", "node", 0)
    before = contents(made.path)
    assert not FleetFolder(made.path).add("pi-0", "node", 0)
    assert contents(made.path) == before


@pytest.mark.parametrize(
    ("name", "role", "part"), [("pi-0", "node", 1), ("pi-0", "camera", None), ("camera", "node", 0)]
)
def test_a_name_means_one_client(made: FleetFolder, name: str, role: str, part: int | None) -> None:
    made.add("pi-0", "node", 0)
    before = contents(made.path)
    with pytest.raises(ConfigError, match="in this fleet already"):
        made.add(name, role, part)  # type: ignore[arg-type]
    assert contents(made.path) == before


def test_a_revoked_client_may_come_back_with_another_certificate(made: FleetFolder) -> None:
    made.add("pi-0", "node", 0)
    first = made.client("pi-0").serial
    made.revoke("pi-0")
    assert not (made.path / "clients" / "pi-0").exists()
    made.add("pi-0", "node", 1)
    assert made.client("pi-0").serial != first
    listed = x509.load_pem_x509_crl((made.path / "broker" / "crl.pem").read_bytes())
    assert [f"{entry.serial_number:x}" for entry in listed] == [first]


def test_init_twice_is_an_error_and_keeps_the_first(tmp_path: Path) -> None:
    first = run("init", tmp_path / "fleet", "--host", "hub.local")
    assert first.exit_code == 0, first.output
    before = contents(tmp_path / "fleet")
    second = run("init", tmp_path / "fleet", "--host", "hub.local")
    assert (second.exit_code, second.output.count("\n")) == (1, 1)
    assert "exists already" in second.output
    assert contents(tmp_path / "fleet") == before


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--host", "hub local"], "neither a host's name"),
        (["--host", "mqtts://hub"], "neither a host's name"),
        (["--host", "hub", "--fleet", "a/b"], "not a usable name"),
        (["--host", "hub", "--images", "a/#/b"], "image filter"),
        (["--host", "hub", "--trust", "abc"], "no public key"),
        (["--host", "hub", "--broker-folder", "broker"], "must begin with '/'"),
    ],
)
def test_what_init_refuses(tmp_path: Path, arguments: list[str], problem: str) -> None:
    result = run("init", tmp_path / "fleet", *arguments)
    assert (result.exit_code, result.output.count("\n")) == (1, 1), result.output
    assert problem in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["add", "a/b"], "not a usable name"),
        (["add", "-n"], "No such option"),
        (["add", "door", "--role", "camera", "--part", "1"], "only a node has a part"),
        (["revoke", "pi-9"], "no 'pi-9' in this fleet"),
    ],
)
def test_what_add_and_revoke_refuse(made: FleetFolder, arguments: list[str], problem: str) -> None:
    before = contents(made.path)
    result = run(*arguments, "--folder", made.path)
    assert result.exit_code != 0
    assert problem in result.output
    assert contents(made.path) == before


def test_a_folder_that_is_no_fleet(tmp_path: Path) -> None:
    result = run("add", "pi-0", "--folder", tmp_path)
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert "is no fleet" in result.output


def test_the_line_makes_a_private_folder_where_it_is_pasted(
    made: FleetFolder, tmp_path: Path
) -> None:
    result = run("add", "pi-0", "--part", "2", "--folder", made.path)
    line = result.stdout
    assert line.startswith(" ")
    assert line.count("\n") == 1
    again = run("add", "pi-0", "--part", "2", "--folder", made.path)
    assert again.stdout == line
    board = tmp_path / "board"
    board.mkdir()
    subprocess.run(["sh"], input=f"umask 0\n{line}", text=True, cwd=board, check=True)
    assert contents(board / "pi-0") == contents(made.path / "clients" / "pi-0")
    found = modes(board / "pi-0")
    assert found.pop(".") == 0o700
    assert set(found.values()) == {0o600}
    assert load_config([board / "pi-0" / "devit.toml"], {}).node.part == 2


def test_the_line_fits_a_terminal(tmp_path: Path) -> None:
    """With the longest names there may be."""
    name, host = "x" * 64, ".".join(["h" * 49] * 5)
    made = FleetFolder.create(tmp_path / "fleet", FleetState("f" * 64, (host,), trust=KEY))
    made.add(name, "node", 200)
    assert len(paste_line(name, made.client_files(name))) <= MAX_LINE


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_agrees(made: FleetFolder) -> None:
    """By its strict rules, which newer clients apply."""
    root = made.path / "authority" / "ca.crt"
    for path, purpose in (
        (made.path / "broker" / "broker.crt", "sslserver"),
        (made.path / "clients" / "camera" / "client.crt", "sslclient"),
    ):
        command = ["openssl", "verify", "-x509_strict", "-purpose", purpose]
        subprocess.run([*command, "-CAfile", str(root), str(path)], check=True, capture_output=True)


def test_an_authority_is_no_member() -> None:
    root = authority.new_authority()
    one = x509.load_pem_x509_certificate(root.certificate)
    constraints = one.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)
