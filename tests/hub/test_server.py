"""The hub over HTTP: files from the middle, turns, tokens, certificates."""

import gc
import hashlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from devit_iot.bundle.manifest import FileEntry
from devit_iot.bundle.reading import Bundle
from devit_iot.config.config import BrokerConfig
from devit_iot.errors import ConfigError, DevitError
from devit_iot.fleet.folder import FleetFolder, FleetState
from devit_iot.hub.client import HubClient
from devit_iot.hub.commands import Done, PushRequest, SignedView, SignRequest, Status
from devit_iot.hub.files import Files
from devit_iot.hub.planned import PlannedParts
from devit_iot.hub.server import HubServer, Tls
from devit_iot.protocol.release import Rollout
from devit_iot.transport.tls import client_context
from devit_iot.updates.fetch import Fetcher, FetchError
from tests.support.fleets import wait_until

TOKEN = "secret"  # noqa: S105
CONTENT = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Commands:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.paused = False
        self.told: list[object] = []
        self.signed_files: dict[str, bytes] = {}

    def push(self, request: PushRequest) -> Done:
        if self.told:
            raise DevitError("release 1 is under way")
        self.told.append(request)
        return Done("release 1", 1)

    def roll_back(self) -> Done:
        self.told.append("rollback")
        return Done("back")

    def plan(self, planned: PlannedParts | None) -> Done:
        if planned is not None:
            planned.check()
        self.told.append(planned)
        return Done("planned")

    def pause(self, *, paused: bool) -> Done:
        self.paused = paused
        return Done("paused")

    def metadata(self, name: str) -> bytes | None:
        return self.signed_files.get(name)

    def sign(self, request: SignRequest) -> Done:
        self.told.append(request)
        return Done("signed")

    def signed(self) -> SignedView | None:
        return SignedView("{}", ()) if self.signed_files else None

    def status(self) -> Status:
        return Status(Rollout("http://hub"), "", {}, {})


class World(NamedTuple):
    server: HubServer
    files: Files
    commands: Commands

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        link = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        link.request(method, path, body, {n.replace("_", "-"): v for n, v in headers.items()})
        response = link.getresponse()
        answer = (response.status, {k.lower(): v for k, v in response.headers.items()})
        content = response.read()
        link.close()
        return *answer, content


@contextmanager
def serving(folder: Path, downloads: int = 8, tls: Tls | None = None) -> Iterator[World]:
    files, commands = Files(folder / "files"), Commands()
    (folder / "files" / SHA256).write_bytes(CONTENT)
    server = HubServer("127.0.0.1", 0, files, commands, token=TOKEN, downloads=downloads, tls=tls)
    with server:
        yield World(server, files, commands)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with serving(tmp_path) as world:
        yield world


def test_a_file_is_named_by_its_content(world: World) -> None:
    status, headers, content = world.ask("GET", f"/files/{SHA256}")
    assert (status, headers["etag"], content) == (200, f'"{SHA256}"', CONTENT)
    status, headers, content = world.ask("HEAD", f"/files/{SHA256}")
    assert (status, headers["content-length"], content) == (200, str(len(CONTENT)), b"")
    status, _, content = world.ask("GET", f"/files/{SHA256}", If_None_Match=f'"{SHA256}"')
    assert (status, content) == (304, b"")


def test_a_file_is_sent_from_the_middle(world: World) -> None:
    tag = f'"{SHA256}"'
    status, headers, content = world.ask(
        "GET", f"/files/{SHA256}", Range="bytes=1000-", If_Range=tag
    )
    assert (status, content) == (206, CONTENT[1000:])
    assert headers["content-range"] == f"bytes 1000-{len(CONTENT) - 1}/{len(CONTENT)}"
    status, _, content = world.ask(
        "GET", f"/files/{SHA256}", Range="bytes=1000-", If_Range='"another"'
    )
    assert (status, content) == (200, CONTENT)


@pytest.mark.parametrize(
    "name", ["0" * 64, "..%2Ftoken", "../hub.json", "%2e%2e/hub.json", "x" * 64, "", SHA256.upper()]
)
def test_there_are_no_other_files(world: World, tmp_path: Path, name: str) -> None:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "hub.json").write_text("{}")
    status, _, content = world.ask("GET", f"/files/{name}")
    assert status == 404
    assert TOKEN.encode() not in content


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", f"/files/{SHA256}"),
        *(("POST", f"/{name}") for name in ("push", "signed", "rollback", "pause", "resume")),
        ("PUT", "/plan"),
        ("DELETE", "/plan"),
        ("GET", "/signed"),
        ("GET", "/status"),
    ],
)
@pytest.mark.parametrize("said", ["", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN])
def test_commands_need_the_token(world: World, method: str, path: str, said: str) -> None:
    status, _, _ = world.ask(method, path, b"{}", Authorization=said)
    assert status == 401
    assert world.commands.told == []
    assert not world.commands.paused


def test_an_upload_is_kept_only_if_it_is_what_it_says(world: World) -> None:
    content = b"another file"
    sha256 = hashlib.sha256(content).hexdigest()
    bearer = f"Bearer {TOKEN}"
    status, _, said = world.ask("PUT", f"/files/{sha256}", b"damaged", Authorization=bearer)
    assert (status, world.files.path(sha256)) == (409, None)
    assert b"push again" in said
    status, _, _ = world.ask("PUT", f"/files/{sha256}", content, Authorization=bearer)
    assert status == 201
    assert world.ask("GET", f"/files/{sha256}")[2] == content


def test_a_bundle_is_uploaded_once_and_pushed(world: World, bundle: Bundle) -> None:
    client = HubClient(world.url, TOKEN, None)
    assert client.push(bundle, "pi-0").number == 1
    (request,) = world.commands.told
    assert isinstance(request, PushRequest)
    assert request.canary == "pi-0"
    release, _ = world.files.release(request.manifest, "")
    assert release.fingerprint == bundle.manifest.fingerprint
    with pytest.raises(DevitError, match="the hub refuses: release 1 is under way"):
        client.push(bundle, "")


def test_signed_metadata_needs_no_token_and_no_turn(world: World) -> None:
    world.commands.signed_files["timestamp.json"] = b"signed"
    world.commands.paused = True
    status, headers, content = world.ask("GET", "/metadata/timestamp.json")
    assert (status, headers["cache-control"], content) == (200, "no-cache", b"signed")
    assert world.ask("GET", "/metadata/2.root.json")[0] == 404


def test_a_client_says_what_the_owner_allows(world: World) -> None:
    client = HubClient(world.url, TOKEN, None)
    assert client.signed() is None
    world.commands.signed_files["timestamp.json"] = b"signed"
    assert client.signed() == SignedView("{}", ())
    request = SignRequest(("root",), "t" * 100_000)
    assert client.sign(request).said == "signed"
    assert world.commands.told == [request]


def test_a_client_gives_a_plan_and_takes_it_back(world: World) -> None:
    client = HubClient(world.url, TOKEN, None)
    planned = PlannedParts(2, {"pi-0": 1, "pi-1": 0}, "0123456789abcdef")
    assert client.plan(planned).said == "planned"
    assert client.plan(None).said == "planned"
    assert world.commands.told == [planned, None]
    with pytest.raises(DevitError, match="the hub refuses: the plan does not give each"):
        client.plan(PlannedParts(3, {"pi-0": 1, "pi-1": 0}))


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/push"), ("POST", "/signed"), ("PUT", "/plan")]
)
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"manifest": 7}', b'{"parts": 1, "members": {}}', b" " * 2**21]
)
def test_rubbish_is_no_command(world: World, method: str, path: str, body: bytes) -> None:
    status, _, said = world.ask(method, path, body, Authorization=f"Bearer {TOKEN}")
    assert status in {400, 409}
    assert said
    assert world.commands.told == []


def test_a_paused_hub_gives_out_nothing(world: World) -> None:
    client = HubClient(world.url, TOKEN, None)
    client.tell("pause")
    assert world.ask("GET", f"/files/{SHA256}")[0] == 503
    client.tell("resume")
    assert world.ask("GET", f"/files/{SHA256}")[0] == 200


def test_few_are_served_at_once_and_the_others_are_told_to_wait(tmp_path: Path) -> None:
    big = bytes(64 * 2**20)  # more than the sockets hold
    sha256 = hashlib.sha256(big).hexdigest()
    with serving(tmp_path, downloads=1) as world:
        (tmp_path / "files" / sha256).write_bytes(big)
        slow = http.client.HTTPConnection("127.0.0.1", world.server.port, timeout=20)
        slow.request("GET", f"/files/{sha256}")
        response = slow.getresponse()
        assert response.status == 200
        status, headers, _ = world.ask("GET", f"/files/{SHA256}")
        assert (status, headers["retry-after"]) == (503, "1")
        assert world.ask("HEAD", f"/files/{SHA256}")[0] == 200
        slow.sock.close()
        response.close()
        wait_until(lambda: world.ask("GET", f"/files/{SHA256}")[0] == 200)


def test_a_wrong_address_is_one_clear_line(world: World, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"choose another hub\.listen"):
        HubServer(
            "127.0.0.1",
            world.server.port,
            Files(tmp_path / "f"),
            Commands(),
            token=TOKEN,
            downloads=8,
            tls=None,
        )
    with pytest.raises(DevitError, match="cannot be reached"):
        HubClient("http://127.0.0.1:1", TOKEN, None).status()


def test_only_members_get_files_over_tls(tmp_path: Path) -> None:
    owner = FleetFolder.create(tmp_path / "fleet", FleetState("home", ("127.0.0.1",)))
    for name in ("pi-0", "pi-1"):
        owner.add(name, "node", 0)
    lost = dict(owner.client_files("pi-1"))
    owner.revoke("pi-1")
    folder = tmp_path / "fleet"
    for name, content in lost.items():
        (tmp_path / name).write_bytes(content)
    broker = folder / "broker"
    tls = Tls(*(str(broker / n) for n in ("broker.crt", "broker.key", "ca.crt", "crl.pem")))

    def fetch(url: str, certificates: Path | None, path: Path) -> None:
        own = ["", ""]
        if certificates is not None:
            own = [str(certificates / f"client.{kind}") for kind in ("crt", "key")]
        ca_file = str(broker / "ca.crt")
        context = client_context(
            BrokerConfig(url="mqtts://x", ca_file=ca_file, cert_file=own[0], key_file=own[1])
        )
        entry = FileEntry("f", len(CONTENT), SHA256)
        Fetcher(context, 20.0).fetch(url, entry, path, on_bytes=lambda _: None)

    with serving(tmp_path, tls=tls) as world:
        url = f"https://127.0.0.1:{world.server.port}"
        fetch(url, folder / "clients" / "pi-0", tmp_path / "f")
        assert (tmp_path / "f").read_bytes() == CONTENT
        for stranger in (None, tmp_path):  # without a certificate, and with a revoked one
            with pytest.raises(FetchError):
                fetch(url, stranger, tmp_path / "g")
        assert not (tmp_path / "g").exists()


def test_commands_from_several_people_at_once(world: World) -> None:
    client = HubClient(world.url, TOKEN, None)
    threads = [threading.Thread(target=client.status) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    answer = world.ask("GET", "/status", Authorization=f"Bearer {TOKEN}")[2]
    assert json.loads(answer)["nodes"] == {}


def test_a_hub_that_dies_while_it_answers_leaves_no_connection_open() -> None:
    """A connection that stays open is a ResourceWarning, which fails the test."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            listener.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        client = HubClient(f"http://127.0.0.1:{listener.getsockname()[1]}", TOKEN, None)
        with pytest.raises(DevitError, match="cannot be reached"):
            client.status()
        thread.join()
    gc.collect()
