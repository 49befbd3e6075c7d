"""The hub towards boards without a certificate, over HTTPS and with the client of its owner."""

import hashlib
import http.client
import json
import ssl
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from devit_iot.config.broker import BrokerConfig
from devit_iot.errors import ConfigError, DevitError
from devit_iot.fleet.folder import FleetFolder, FleetState
from devit_iot.hub.join_client import JoinClient
from devit_iot.hub.join_server import Door, JoinServer, authority_der, open_context
from devit_iot.hub.joins import JoinRequest, Joins
from devit_iot.hub.wheels import Wheels
from devit_iot.transport.tls import client_context

HUB_TOKEN = "hub-token"  # noqa: S105
TOKEN = "t0ken"  # noqa: S105
REQUEST = JoinRequest(
    hashlib.sha256(TOKEN.encode()).hexdigest(), 3600.0, "1", "devit-iot", {"client.key": b"key"}
)


class World(NamedTuple):
    port: int
    fleet: Path
    folder: Path

    @property
    def context(self) -> ssl.SSLContext:
        return client_context(BrokerConfig(ca_file=str(self.fleet / "broker/ca.crt")))

    def client(self, token: str = HUB_TOKEN) -> JoinClient:
        return JoinClient(f"https://127.0.0.1:{self.port}", token, self.context)

    def ask(
        self, method: str, path: str, body: bytes | None = None, token: str = ""
    ) -> tuple[int, bytes]:
        link = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=self.context)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        link.request(method, path, body, headers)
        answer = link.getresponse()
        content = answer.read()
        link.close()
        return answer.status, content

    def step(self, step: str, board: str, token: str = TOKEN) -> tuple[int, Any]:
        body = json.dumps({"board": board}).encode()
        status, content = self.ask("POST", f"/join/pi-3/{step}", body, token)
        return status, json.loads(content) if status == 200 else content.decode()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("hub")
    FleetFolder.create(folder / "fleet", FleetState("home", ("127.0.0.1",)))
    broker = folder / "fleet/broker"
    door = Door(
        Joins(folder / "joins", lambda: 1e9),
        Wheels(folder / "wheels"),
        authority_der(str(broker / "ca.crt")),
        HUB_TOKEN,
        open_context(str(broker / "broker.crt"), str(broker / "broker.key")),
    )
    with JoinServer(("127.0.0.1", 0), door) as server:
        yield World(server.port, folder / "fleet", folder)


def wheel(folder: Path, name: str, *, whole: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("x.py", "")
        if whole:
            archive.writestr("x-1.dist-info/WHEEL", "")
    return folder / name


def test_a_board_joins_once(world: World) -> None:
    world.client().allow("pi-3", REQUEST)
    assert world.step("ask", "a") == (200, {"requirement": "devit-iot"})
    assert world.step("take", "a") == (200, {"files": {"client.key": "a2V5"}})
    assert world.step("end", "a")[0] == 200
    status, said = world.step("ask", "b")
    assert (status, "another board has joined" in said) == (409, True)
    assert len(said.splitlines()) == 1
    assert world.step("ask", "a", "wrong")[0] == 403
    with pytest.raises(DevitError, match="the hub refuses: a board has joined as 'pi-3' already"):
        world.client().allow("pi-3", REQUEST)


def test_certificates_pass_the_stricter_rules_of_python_3_13(world: World) -> None:
    context = world.context
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    link = http.client.HTTPSConnection("127.0.0.1", world.port, timeout=60, context=context)
    link.request("GET", "/join/ca.der")
    assert link.getresponse().status == 200
    link.close()


def test_the_authority_is_what_the_fleet_has(world: World) -> None:
    status, content = world.ask("GET", "/join/ca.der")
    pem = (world.fleet / "authority/ca.crt").read_text()
    assert (status, content) == (200, ssl.PEM_cert_to_DER_cert(pem.strip()))


def test_the_program_of_a_board_needs_nothing_but_python(world: World) -> None:
    status, content = world.ask("GET", "/join/board.py")
    assert status == 200
    names = {line.split()[1].split(".")[0] for line in content.decode().splitlines()
             if line.startswith(("import ", "from "))}  # fmt: skip
    assert names <= sys.stdlib_module_names


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"board": 7}', b" " * 300_000])
def test_rubbish_is_one_line(world: World, body: bytes) -> None:
    for method, path, token in (
        ("POST", "/join/pi-3/ask", TOKEN),
        ("PUT", "/joins/pi-3", HUB_TOKEN),
    ):
        status, said = world.ask(method, path, body, token)
        assert status in {400, 409}
        assert len(said.decode().splitlines()) == 1


@pytest.mark.parametrize("token", ["", TOKEN, "wrong"])
def test_only_the_hubs_owner_adds_boards_and_wheels(world: World, token: str) -> None:
    for path in ("/joins/pi-9", "/wheels/x-1-py3-none-any.whl"):
        assert world.ask("PUT", path, b"{}", token)[0] == 401
    with pytest.raises(DevitError, match="wrong token"):
        world.client(token).allow("pi-9", REQUEST)


def test_wheels_are_listed_as_pip_reads_them(world: World, tmp_path: Path) -> None:
    name = "paho_mqtt-2.1.0-py3-none-any.whl"
    added = wheel(tmp_path, name)
    world.client().add_wheel(added)
    wheel(world.folder / "wheels", "other-1.0-py3-none-any.whl")  # copied there by hand
    digest = hashlib.sha256(added.read_bytes()).hexdigest()
    link = f'href="/wheels/{name}#sha256={digest}"'
    page = world.ask("GET", "/wheels/")[1].decode()
    assert link in page
    assert "other-1.0" in page
    project = world.ask("GET", "/wheels/paho-mqtt/")[1].decode()  # as PEP 503 spells it
    assert link in project
    assert "other-1.0" not in project
    assert world.ask("GET", f"/wheels/{name}") == (200, added.read_bytes())


@pytest.mark.parametrize(
    "name",
    ["..%2Ffleet%2Ffleet.json", "../fleet/fleet.json", "nothing-1-py3-none-any.whl", "x.whl"],
)
def test_there_are_no_other_files(world: World, name: str) -> None:
    assert world.ask("GET", f"/wheels/{name}")[0] == 404


@pytest.mark.parametrize(
    ("name", "whole", "said"),
    [
        ("wheel.zip", True, "not the name of a wheel"),
        ("x-1-py3-none-any.whl", False, "damaged or no wheel"),
    ],
)
def test_what_is_no_wheel_is_refused(
    world: World, tmp_path: Path, name: str, *, whole: bool, said: str
) -> None:
    with pytest.raises(DevitError, match=said):
        world.client().add_wheel(wheel(tmp_path, name, whole=whole))
    assert not (world.folder / "wheels" / name).exists()


def test_a_file_that_is_cut_is_refused(world: World, tmp_path: Path) -> None:
    cut = wheel(tmp_path, "cut-1-py3-none-any.whl")
    cut.write_bytes(cut.read_bytes()[:-20])
    with pytest.raises(DevitError, match="damaged or no wheel"):
        world.client().add_wheel(cut)
    with pytest.raises(DevitError, match="there is no file"):
        world.client().add_wheel(tmp_path / "no-1-py3-none-any.whl")


def test_files_that_cannot_be_used_are_one_clear_line(tmp_path: Path) -> None:
    for ca_file in ("", str(tmp_path / "ca.crt")):
        with pytest.raises(ConfigError, match=r"broker\.ca_file"):
            authority_der(ca_file)
    (tmp_path / "two.crt").write_text("-----BEGIN")
    with pytest.raises(ConfigError, match=r"broker\.ca_file"):
        authority_der(str(tmp_path / "two.crt"))
    with pytest.raises(ConfigError, match=r"hub\.cert_file"):
        open_context(str(tmp_path / "no"), str(tmp_path / "no"))
