"""The line of `devit fleet add`, pasted into a shell: who it believes, and what it says if not."""

import hashlib
import shlex
import ssl
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from devit_iot.demo.processes import free_port
from devit_iot.fleet.authority import Pair, new_server
from devit_iot.fleet.folder import FleetFolder, FleetState
from devit_iot.fleet.join_line import Ticket, join_line
from devit_iot.hub import board
from devit_iot.hub.board import Places
from devit_iot.hub.join_server import Door, JoinServer, authority_der, open_context
from devit_iot.hub.joins import JoinRequest, Joins
from devit_iot.hub.wheels import Wheels
from tests.support.wheels import NODE_BYTES, disk_bytes, make_wheels, own_wheel, repacked

TOKEN = "t0ken"  # noqa: S105
HOUR_S = 3600.0


class Hub(NamedTuple):
    """A hub's door, and what it knows."""

    port: int
    door: Door

    def line(self, name: str, token: str = TOKEN, *, authority: bytes = b"", at: str = "") -> str:
        """A line that leads here."""
        url = f"https://127.0.0.1:{self.port}"
        ticket = Ticket(url, authority or self.door.authority, name, token)
        return join_line(ticket, at)

    def allow(self, name: str) -> None:
        """Let a board join."""
        digest = hashlib.sha256(TOKEN.encode()).hexdigest()
        files = {"devit.toml": b"", "client.key": b"key"}
        self.door.joins.allow(name, JoinRequest(digest, HOUR_S, "1", "devit-iot", files))


class Clock:
    """Shows what a test sets."""

    now = 1e9

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()


@contextmanager
def open_door(fleet: Path, folder: Path, certificate: Path) -> Iterator[Hub]:
    """Serve with a certificate, ``<certificate>.crt`` and its key."""
    door = Door(
        Joins(folder / "joins", CLOCK),
        Wheels(folder / "wheels"),
        authority_der(str(fleet / "authority/ca.crt")),
        "hub-token",
        open_context(f"{certificate}.crt", f"{certificate}.key"),
    )
    with JoinServer(("127.0.0.1", 0), door) as server:
        yield Hub(server.port, door)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("owner") / "fleet"
    FleetFolder.create(path, FleetState("home", ("127.0.0.1",)))
    return path


@pytest.fixture
def hub(fleet: Path, tmp_path: Path) -> Iterator[Hub]:
    with open_door(fleet, tmp_path, fleet / "broker/broker") as hub:
        yield hub


def paste(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line on a board that has Python and nothing of this project."""
    bare = folder / "bin"
    bare.mkdir(exist_ok=True)
    if not (bare / "python3").exists():
        (bare / "python3").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    return subprocess.run(
        ["sh", "-c", line],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={"PATH": f"{bare}:/usr/bin:/bin", "HOME": str(folder)},
    )


def assert_refused(line: str, folder: Path, *words: str) -> None:
    """One line says why, and nothing of the board's is there."""
    done = paste(line, folder)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1, done.stderr
    assert last.startswith("Error: "), done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in last
    assert not list((folder / "board").rglob("client.key"))


def test_the_line_is_one_line_and_shows_the_fingerprint(fleet: Path) -> None:
    authority = authority_der(str(fleet / "authority/ca.crt"))
    ticket = Ticket("https://hub.local:8485", authority, "pi-3", TOKEN)
    line = join_line(ticket)
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", fleet / "authority/ca.crt"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    fingerprint = shown.strip().partition("=")[2].replace(":", "").lower()
    assert line.startswith(" sudo python3 -c ")
    assert len(line.splitlines()) == 1
    assert len(line) < 1000
    assert shlex.split(line)[-4:] == ["https://hub.local:8485", fingerprint, "pi-3", TOKEN]
    assert shlex.split(join_line(ticket, "a b"))[-1] == "a b"


def test_a_hub_of_another_fleet(hub: Hub, tmp_path: Path) -> None:
    hub.allow("pi-3")
    line = hub.line("pi-3", authority=b"another one", at=str(tmp_path / "board"))
    assert_refused(line, tmp_path, "is not the hub of this fleet")


def _of_another_authority(folder: Path, fleet: Path) -> Path:
    other = FleetFolder.create(folder / "other", FleetState("home", ("127.0.0.1",)))
    assert fleet != other.path
    return other.path / "broker/broker"


def _of_another_host(folder: Path, fleet: Path) -> Path:
    root = Pair(*((fleet / f"authority/ca.{kind}").read_bytes() for kind in ("crt", "key")))
    pair = new_server(root, ("hub.example",))
    (folder / "host.crt").write_bytes(pair.certificate)
    (folder / "host.key").write_bytes(pair.key)
    return folder / "host"


def _of_a_stolen_node(_folder: Path, fleet: Path) -> Path:
    return fleet / "clients/viewer/client"


@pytest.mark.parametrize("make", [_of_another_authority, _of_another_host, _of_a_stolen_node])
def test_a_server_that_only_shows_the_right_authority(
    make: "object", fleet: Path, tmp_path: Path
) -> None:
    certificate = make(tmp_path, fleet)  # type: ignore[operator]
    with open_door(fleet, tmp_path, certificate) as hub:
        hub.allow("pi-3")
        line = hub.line("pi-3", at=str(tmp_path / "board"))
        assert_refused(line, tmp_path, "cannot join by https://", "certificate verify failed")
        assert hub.door.joins.take("pi-3", TOKEN, "a")  # the token was not used up


def test_an_authority_in_company_is_not_believed(hub: Hub, fleet: Path, tmp_path: Path) -> None:
    """Another certificate behind the right one would be believed as well."""
    other = _of_another_authority(tmp_path, fleet)
    both = hub.door.authority + authority_der(str(other.parent.parent / "authority/ca.crt"))
    context = open_context(f"{other}.crt", f"{other}.key")
    door = hub.door._replace(authority=both, context=context)
    with JoinServer(("127.0.0.1", 0), door) as server:
        line = Hub(server.port, hub.door).line("pi-3", at=str(tmp_path / "board"))
        assert_refused(line, tmp_path, "is not the hub of this fleet")


def test_a_hub_that_is_away(hub: Hub, tmp_path: Path) -> None:
    line = Hub(free_port(), hub.door).line("pi-3", at=str(tmp_path / "board"))
    assert_refused(line, tmp_path, "cannot join by https://127.0.0.1", "refused")


def test_tokens_that_let_nobody_in(hub: Hub, tmp_path: Path) -> None:
    at = str(tmp_path / "board")
    hub.allow("pi-3")
    assert_refused(hub.line("pi-3", "wrong", at=at), tmp_path, "lets no board join as 'pi-3'")
    assert_refused(hub.line("pi-4", at=at), tmp_path, "lets no board join as 'pi-4'")
    hub.door.joins.take("pi-3", TOKEN, "another board")
    assert_refused(hub.line("pi-3", at=at), tmp_path, "another board has joined as 'pi-3'")
    hub.allow("pi-5")
    CLOCK.now += HOUR_S
    assert_refused(hub.line("pi-5", at=at), tmp_path, "the line for 'pi-5' has expired")


def test_a_hub_without_wheels_for_the_board(hub: Hub, tmp_path: Path) -> None:
    line = hub.line("pi-3", at=str(tmp_path / "board"))
    hub.allow("pi-3")
    assert_refused(line, tmp_path, "the hub has no wheel of pip")
    repacked("pip", tmp_path / "wheels")
    assert_refused(line, tmp_path, "the hub has no wheel of devit-iot for CPython 3.")
    own_wheel(tmp_path / "wheels", "cp311-cp311-manylinux_2_28_s390x")
    assert_refused(line, tmp_path, "the hub has no wheel of devit-iot for CPython 3.")
    assert hub.door.joins.take("pi-3", TOKEN, "a")  # the token was not used up


def install(hub: Hub, folder: Path) -> Path:
    """Install the software as a board does; the folder of its packages."""
    authority = ssl.DER_cert_to_PEM_cert(hub.door.authority)
    places = Places.below(folder / "board")
    places.software.parent.mkdir(parents=True)
    board.install(board.Hub(f"https://127.0.0.1:{hub.port}", authority), "devit-iot", places)
    (packages,) = places.software.glob("lib/python3*/site-packages")
    return packages


def test_a_board_has_what_its_node_loads_compiled_and_nothing_else(
    hub: Hub, tmp_path: Path
) -> None:
    make_wheels(tmp_path / "wheels")
    packages = install(hub, tmp_path)
    for package in ("devit_iot/node", "devit_iot/updates", "numpy", "PIL"):
        assert list((packages / package).glob("__pycache__/*.pyc")), package
    for package in ("devit_iot/decompose", "devit_iot/hub", "numpy/f2py", "numpy/tests"):
        assert (packages / package).is_dir()
        assert not (packages / package / "__pycache__").exists(), package
    assert disk_bytes(packages.parents[2]) < NODE_BYTES


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("raise OSError('libstdc++.so.6: no such file')", "libstdc++.so.6: no such file"),
        ("import os; os.kill(os.getpid(), 4)", "it ended with -4"),
    ],
)
def test_software_that_does_not_start_is_said_before_the_board_joins(
    hub: Hub, tmp_path: Path, module: str, said: str
) -> None:
    """For instance where a library is missing, or the CPU lacks an instruction."""
    repacked("pip", tmp_path / "wheels")
    info = "devit_iot-1.dist-info"
    with zipfile.ZipFile(tmp_path / "wheels/devit_iot-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("devit_iot/__init__.py", module)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: devit-iot\nVersion: 1\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        wheel.writestr(f"{info}/RECORD", "")
    hub.allow("pi-3")
    line = hub.line("pi-3", at=str(tmp_path / "board"))
    assert_refused(line, tmp_path, "the software does not start on this board: ", said)
    assert hub.door.joins.take("pi-3", TOKEN, "a")  # the token was not used up
