"""`devit fleet init --cells`: bridges, certificates and access lists of cells and upper broker."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from paho.mqtt.client import topic_matches_sub

from devit_iot.cli.devit import main
from devit_iot.cli.fleet_cells import read_places
from devit_iot.config.config import load_config
from devit_iot.errors import ConfigError
from devit_iot.fleet.access import FORMATS, mosquitto_acl
from devit_iot.fleet.bridge import Bridge, bridge_conf
from devit_iot.fleet.cells import CellPlace, add_cell, create_with_cells
from devit_iot.fleet.folder import FleetFolder, FleetState
from devit_iot.fleet.upper_access import upper_access_list, upper_members
from devit_iot.protocol.cells import CellTopics

GOLDEN = Path(__file__).parent / "golden"
ACCESS = upper_access_list("home", upper_members(["hall", "yard"]))


@pytest.fixture
def made(tmp_path: Path) -> FleetFolder:
    cells = (CellPlace("hall", "hall.local", 8883), CellPlace("yard", "192.168.2.2", 8884))
    return create_with_cells(tmp_path / "fleet", FleetState("home", ("upper.local",)), cells)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["fleet", *map(str, arguments)])


def may(user: str, topic: str) -> bool:
    return any(topic_matches_sub(rule, topic) for rule in ACCESS[user].write)


def test_the_bridges_of_a_cell() -> None:
    text = bridge_conf("home", Bridge("hall", "upper.local", 8883), folder="/etc/mosquitto")
    assert text == (GOLDEN / "bridge.conf").read_text()


def test_the_access_list_of_an_upper_broker() -> None:
    assert mosquitto_acl(ACCESS) == (GOLDEN / "upper.acl").read_text()


@pytest.mark.parametrize("kind", FORMATS)
def test_other_brokers_can_be_an_upper_one(kind: str) -> None:
    text = FORMATS[kind](ACCESS)
    assert "cell-hall" in text
    assert "labels-yard" in text


@pytest.mark.parametrize("user", ["cell-hall", "labels-hall"])
def test_a_cell_writes_below_its_own_name_only_and_reads_nothing(user: str) -> None:
    own, other = CellTopics("home", "hall"), CellTopics("home", "yard")
    assert ACCESS[user].read == ()
    assert all(rule.startswith(own.prefix) for rule in ACCESS[user].write)
    for topics in (other, CellTopics("home", "hall2"), CellTopics("other", "hall")):
        for topic in (topics.label("door"), topics.state("door", "gate"), topics.node_status("x")):
            assert not may(user, topic)
    assert not may(user, other.connected)
    for topic in ("devit/v1/home/labels/door", "homeassistant/device/x/config", "cameras/x/image"):
        assert not may(user, topic)


def test_each_bridge_may_send_what_it_forwards() -> None:
    own = CellTopics("home", "hall")
    assert may("labels-hall", own.label("door"))
    assert may("labels-hall", own.head_label("door", "gate"))
    assert may("cell-hall", own.state("door", "gate"))
    assert may("cell-hall", own.node_status("pi-0"))
    assert may("cell-hall", own.aggregator_status(0))
    assert may("cell-hall", own.connected)
    assert not may("cell-hall", own.label("door"))


def test_nobody_else_writes_what_cells_say() -> None:
    topic = CellTopics("home", "hall").label("door")
    assert [user for user in ACCESS if may(user, topic)] == ["labels-hall"]


@pytest.mark.parametrize("role", ["node", "camera", "aggregator", "hub", "teacher", "collector"])
def test_an_upper_broker_has_no_members_of_a_cell(made: FleetFolder, role: str) -> None:
    with pytest.raises(ConfigError, match="folder of a cell"):
        made.add("somebody", role)  # type: ignore[arg-type]
    assert not (made.path / "clients" / "somebody").exists()


@pytest.mark.parametrize("role", ["cell", "labels", "upper"])
def test_a_cell_has_no_members_of_an_upper_broker(made: FleetFolder, role: str) -> None:
    cell = FleetFolder(made.path / "cells" / "hall")
    with pytest.raises(ConfigError, match="only an upper broker"):
        cell.add("cell-x", role)  # type: ignore[arg-type]


def test_bridges_have_certificates_of_the_upper_authority(made: FleetFolder) -> None:
    upper = made.path / "broker" / "ca.crt"
    for cell in ("hall", "yard"):
        broker = made.path / "cells" / cell / "broker"
        assert (broker / "upper-ca.crt").read_bytes() == upper.read_bytes()
        assert (broker / "ca.crt").read_bytes() != upper.read_bytes()
        issuer = x509.load_pem_x509_certificate(upper.read_bytes())
        for user in (f"cell-{cell}", f"labels-{cell}"):
            certificate = x509.load_pem_x509_certificate((broker / f"{user}.crt").read_bytes())
            certificate.verify_directly_issued_by(issuer)


def test_what_is_in_a_cells_folder_is_private_too(made: FleetFolder) -> None:
    for path in made.path.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_the_bridge_stays_when_the_cell_gets_members(made: FleetFolder) -> None:
    cell = FleetFolder(made.path / "cells" / "hall")
    before = (cell.path / "broker" / "mosquitto.conf").read_text()
    cell.add("pi-0", "node", 0)
    assert (cell.path / "broker" / "mosquitto.conf").read_text() == before
    bridge = Bridge("hall", "upper.local", 8883)
    assert before.endswith(bridge_conf("home", bridge, folder="/etc/mosquitto"))


def test_viewers_of_the_upper_broker_look_at_cells(made: FleetFolder) -> None:
    upper = load_config([made.path / "clients" / "viewer" / "devit.toml"], {})
    cell = load_config([made.path / "cells" / "yard" / "clients" / "viewer" / "devit.toml"], {})
    assert (upper.cells, upper.broker.url) == (True, "mqtts://upper.local:8883")
    assert (cell.cells, cell.broker.url) == (False, "mqtts://192.168.2.2:8884")


def test_a_cell_that_is_revoked_gets_in_no_more(made: FleetFolder) -> None:
    made.revoke("cell-hall")
    acl = (made.path / "broker" / "acl").read_text()
    assert "user cell-hall" not in acl
    assert "user cell-yard" in acl


def test_one_more_cell(made: FleetFolder) -> None:
    result = run("cell", "roof=10.0.0.3:9000", "--folder", made.path)
    assert result.exit_code == 0, result.output
    cell = FleetFolder(made.path / "cells" / "roof").fleet
    assert (cell.hosts, cell.port, cell.name) == (("10.0.0.3",), 9000, "home")
    assert cell.bridge == Bridge("roof", "upper.local", 8883)
    assert "user labels-roof" in (made.path / "broker" / "acl").read_text()
    again = run("cell", "roof", "--folder", made.path)
    assert (again.exit_code, again.output.count("\n")) == (1, 1)
    assert "exists already" in again.output


def test_a_fleet_without_cells_gets_none(tmp_path: Path) -> None:
    plain = FleetFolder.create(tmp_path / "fleet", FleetState("home", ("hub.local",)))
    with pytest.raises(ConfigError, match="without cells"):
        add_cell(plain, CellPlace("hall", "hall.local", 8883))


def test_init_makes_an_upper_broker_and_its_cells(tmp_path: Path) -> None:
    folder = tmp_path / "fleet"
    place = os.fspath(folder / "broker")
    options = ["--host", "upper.local", "--cells", "a,b=localhost:8885", "--broker-folder", place]
    result = run("init", folder, *options)
    assert result.exit_code == 0, result.output
    assert [path.name for path in sorted((folder / "cells").iterdir())] == ["a", "b"]
    a, b = (FleetFolder(folder / "cells" / name).fleet for name in "ab")
    assert (a.hosts, a.port) == (("a.local",), 8883)
    assert (b.hosts, b.port) == (("localhost",), 8885)
    assert b.broker_folder == str(folder / "cells" / "b" / "broker")


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ("a,a", "a name of its own"),
        ("a b", "not a usable name"),
        ("a=", "neither a host's name"),
        ("a=mqtts://x", "no cell"),
        ("a=x:0", "no cell"),
        ("a=x:99999", "no cell"),
        (",", "not a usable name"),
        ("a=[::1]:1\ntopic # in", "no cell"),
    ],
)
def test_what_init_refuses_of_cells(tmp_path: Path, cells: str, problem: str) -> None:
    result = run("init", tmp_path / "fleet", "--host", "upper.local", "--cells", cells)
    assert (result.exit_code, result.output.count("\n")) == (1, 1), result.output
    assert problem in result.output
    assert list(tmp_path.iterdir()) == []


def test_the_list_of_an_upper_broker_is_printed() -> None:
    printed = CliRunner().invoke(main, ["acl", "--cell", "hall", "--cell", "yard"])
    assert printed.output == mosquitto_acl(ACCESS)


@pytest.mark.parametrize(
    "options",
    [[], ["--node", "pi-0", "--cell", "hall"], ["--cell", "a", "--cell", "a"], ["--cell", "+"]],
)
def test_what_the_access_list_refuses_of_cells(options: list[str]) -> None:
    result = CliRunner().invoke(main, ["acl", *options])
    assert (result.exit_code, result.output.count("\n")) == (1, 1), result.output


def test_where_a_cells_broker_is() -> None:
    assert read_places("a, b=hub.local,c=[::1]:9000") == [
        ("a", "a.local", None),
        ("b", "hub.local", None),
        ("c", "::1", 9000),
    ]
