"""With the files of `devit fleet`, nobody gets in, and whoever is in stays in its place."""

import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from devit_iot.config.config import BrokerConfig, load_config
from devit_iot.demo.processes import free_port
from devit_iot.errors import BrokerError
from devit_iot.fleet import authority
from devit_iot.fleet.authority import Pair
from devit_iot.fleet.folder import FleetFolder, FleetState
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Will
from tests.support.fleets import wait_until
from tests.support.mosquitto import WAIT_S, Client, needs_mosquitto, running_mosquitto
from tests.support.tls_server import TlsServer

pytestmark = needs_mosquitto
TOPICS = Topics("home")
IMAGE = "cameras/door/image"
NODES = ("pi-0", "pi-1")
CONNECT = bytes.fromhex("10 10 00 04 4d515454 04 02 003c 0004 70692d30")  # MQTT 3.1.1, id pi-0
CONNACK = b"\x20\x02\x00\x00"


class Secure(NamedTuple):
    """A fleet with a running broker."""

    folder: FleetFolder
    log: Path
    broker: "subprocess.Popen[bytes]"

    def config(self, name: str) -> BrokerConfig:
        return load_config([self.folder.path / "clients" / name / "devit.toml"], {}).broker

    def client(
        self, name: str, *filters: str, client_id: str = "", will: Will | None = None
    ) -> Client:
        return Client(self.config(name), *filters, client_id=client_id or name, will=will)

    def authority(self) -> Pair:
        folder = self.folder.path / "authority"
        return Pair((folder / "ca.crt").read_bytes(), (folder / "ca.key").read_bytes())

    def stranger(self, folder: Path, pair: Pair) -> BrokerConfig:
        """A client with another certificate, that trusts the real broker."""
        (folder / "own.crt").write_bytes(pair.certificate)
        (folder / "own.key").write_bytes(pair.key)
        return msgspec.structs.replace(
            self.config("viewer"),
            cert_file=str(folder / "own.crt"),
            key_file=str(folder / "own.key"),
        )


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    path = tmp_path_factory.mktemp("intruder") / "fleet"
    fleet = FleetState("home", ("localhost",), free_port(), broker_folder=str(path / "broker"))
    folder = FleetFolder.create(path, fleet)
    for part, node in enumerate(NODES):
        folder.add(node, "node", part)
    folder.add("lost", "node", 0)
    conf = path / "broker" / "mosquitto.conf"
    conf.write_text(conf.read_text() + "log_type information\n")
    log = path / "log"
    with running_mosquitto(conf, [fleet.port], log) as broker:
        yield Secure(folder, log, broker)


def test_members_work(secure: Secure) -> None:
    with (
        secure.client("pi-0", IMAGE) as node,
        secure.client("camera") as camera,
        secure.client("aggregator", TOPICS.features("+"), TOPICS.node_statuses) as aggregator,
        secure.client("viewer", TOPICS.labels) as viewer,
    ):
        camera.publish(IMAGE, b"image")
        assert node.get() == (IMAGE, b"image")
        node.publish(TOPICS.feature(0, "pi-0"), b"feature")
        node.publish(TOPICS.node_status("pi-0"), b"status")
        assert aggregator.get() == (TOPICS.feature(0, "pi-0"), b"feature")
        assert aggregator.get() == (TOPICS.node_status("pi-0"), b"status")
        aggregator.publish(TOPICS.label("door"), b"label")
        assert viewer.get() == (TOPICS.label("door"), b"label")


def test_without_tls_there_is_no_answer(secure: Secure) -> None:
    with socket.create_connection(("localhost", secure.folder.fleet.port), WAIT_S) as link:
        assert CONNACK not in answer(link, CONNECT)


def test_the_same_bytes_over_tls_are_answered(secure: Secure) -> None:
    """A plain link is refused for the missing TLS, and for nothing else."""
    with tls_link(secure, context_of(secure.config("pi-0"))) as link:
        link.sendall(CONNECT)
        assert link.recv(4) == CONNACK


def context_of(config: BrokerConfig) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=config.ca_file)
    context.load_cert_chain(config.cert_file, config.key_file)
    return context


@contextmanager
def tls_link(
    secure: Secure, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(("localhost", secure.folder.fleet.port), WAIT_S) as link,
        context.wrap_socket(link, server_hostname="localhost", session=session) as tls,
    ):
        yield tls


def answer(link: socket.socket, packet: bytes) -> bytes:
    """Everything that the other end says to ``packet`` until it hangs up."""
    received = b""
    try:
        link.sendall(packet)
        while chunk := link.recv(4096):
            received += chunk
    except (ConnectionError, ssl.SSLError):
        pass
    return received


def test_without_a_certificate(secure: Secure) -> None:
    config = msgspec.structs.replace(secure.config("pi-0"), cert_file="", key_file="")
    with pytest.raises(BrokerError, match=r"CERTIFICATE_REQUIRED.*set broker.cert_file"):
        Client(config, "#", client_id="pi-0").__enter__()


@pytest.mark.parametrize("name", ["pi-0", "aggregator"])
def test_of_another_authority(secure: Secure, tmp_path: Path, name: str) -> None:
    """Called like ours, down to the authority's name."""
    forged = authority.new_client(authority.new_authority(), name)
    refused(secure.stranger(tmp_path, forged))


def test_an_expired_certificate(secure: Secure, tmp_path: Path) -> None:
    expired = authority.new_client(secure.authority(), "pi-0", life_days=-1 / 24)
    refused(secure.stranger(tmp_path, expired), match="EXPIRED")


def test_one_that_signed_itself(secure: Secure, tmp_path: Path) -> None:
    refused(secure.stranger(tmp_path, authority.new_authority("pi-0")))


def test_one_that_a_member_signed(secure: Secure, tmp_path: Path) -> None:
    """A node's key makes no members."""
    config = secure.config("pi-1")
    member = Pair(Path(config.cert_file).read_bytes(), Path(config.key_file).read_bytes())
    made = authority.new_client(member, "aggregator")
    refused(secure.stranger(tmp_path, Pair(made.certificate + member.certificate, made.key)))


def test_the_brokers_own_certificate_is_no_clients(secure: Secure, tmp_path: Path) -> None:
    refused(secure.stranger(tmp_path, authority.new_server(secure.authority(), ["localhost"])))


def refused(config: BrokerConfig, match: str = "refuses our certificate") -> None:
    with pytest.raises(BrokerError, match=match):
        Client(config, "#", client_id="pi-0").__enter__()


def test_a_revoked_certificate(secure: Secure, tmp_path: Path) -> None:
    """Worthless once the broker has read its lists again, also where it is connected already."""
    context = context_of(secure.config("lost"))
    with tls_link(secure, context) as link:
        link.sendall(CONNECT)
        assert link.recv(4) == CONNACK
        session = link.session
    with tls_link(secure, context, session) as link:
        link.sendall(CONNECT)
        assert link.recv(4) == CONNACK
        assert link.session_reused
    with (
        secure.client("lost", IMAGE) as lost,
        secure.client("viewer", TOPICS.node_statuses) as viewer,
        secure.client("camera") as camera,
    ):
        lost.publish(TOPICS.node_status("lost"), b"still a member")
        assert viewer.get() == (TOPICS.node_status("lost"), b"still a member")
        kept = shutil.copytree(secure.folder.path / "clients" / "lost", tmp_path / "lost")
        secure.folder.revoke("lost")
        secure.broker.send_signal(signal.SIGHUP)
        wait_until(lambda: "Reloading config" in secure.log.read_text())
        lost.publish(TOPICS.node_status("lost"), b"a member no more")
        lost.publish(TOPICS.feature(0, "lost"), b"a member no more")
        with secure.client("pi-0", IMAGE) as node:
            camera.publish(IMAGE, b"image")
            assert node.get() == (IMAGE, b"image")
            node.publish(TOPICS.node_status("pi-0"), b"later")
            assert viewer.get() == (TOPICS.node_status("pi-0"), b"later")
        assert lost.inbox.empty()
    refused(load_config([kept / "devit.toml"], {}).broker, match="REVOKED")
    with tls_link(secure, context, session) as link:  # nor does the old TLS session help
        assert CONNACK not in answer(link, CONNECT)


FORBIDDEN = (
    TOPICS.feature(0, "pi-0"),
    TOPICS.node_status("pi-0"),
    TOPICS.label("door"),
    TOPICS.aggregator_status(0),
    IMAGE,
)


@pytest.mark.parametrize("username", ["", "aggregator"])
def test_a_node_writes_its_own_topics_only(secure: Secure, username: str) -> None:
    """Whatever user name it gives: the one in its certificate counts."""
    everything = (TOPICS.features("+"), TOPICS.node_statuses)
    results = (TOPICS.labels, TOPICS.aggregator_status("+"), TOPICS.node_statuses)
    config = msgspec.structs.replace(secure.config("pi-1"), username=username)
    own = (TOPICS.node_status("pi-1"), b"own")
    with (
        secure.client("aggregator", *everything) as aggregator,
        secure.client("viewer", *results) as viewer,
        secure.client("pi-0", IMAGE) as node,
        secure.client("camera") as camera,
        Client(config, client_id="pi-1", password=username) as intruder,
    ):
        for topic in FORBIDDEN:
            intruder.publish(topic, b"forged", retain=True)
        intruder.publish(*own)  # behind them on the same connection
        assert aggregator.get() == own
        assert viewer.get() == own
        camera.publish(IMAGE, b"honest")
        assert node.get() == (IMAGE, b"honest")
        for client in (aggregator, viewer, node):
            assert client.inbox.empty()
    with secure.client("viewer", *results) as late, secure.client("pi-0") as node:
        node.publish(TOPICS.node_status("pi-0"), b"later")
        assert late.get() == (TOPICS.node_status("pi-0"), b"later")  # nothing retained came before


def test_a_node_reads_images_and_what_nodes_say(secure: Secure) -> None:
    """Mosquitto grants every subscription, and delivers what the list allows."""
    seen = {IMAGE: b"image", TOPICS.feature(0, "pi-0"): b"feature"}
    seen[TOPICS.node_status("pi-0")] = b"status"
    wanted = ("#", "$SYS/#", TOPICS.labels, TOPICS.features("+"), "devit/#", "+/+/+/+/+/+")
    with (
        secure.client("pi-1", *wanted) as intruder,
        secure.client("viewer", TOPICS.labels) as viewer,
        secure.client("pi-0") as node,
        secure.client("aggregator", TOPICS.features("+")) as aggregator,
        secure.client("camera") as camera,
    ):
        node.publish(TOPICS.feature(0, "pi-0"), b"feature")
        node.publish(TOPICS.node_status("pi-0"), b"status")
        assert aggregator.get() == (TOPICS.feature(0, "pi-0"), b"feature")
        aggregator.publish(TOPICS.label("door"), b"label")
        aggregator.publish(TOPICS.aggregator_status(0), b"status")
        assert viewer.get() == (TOPICS.label("door"), b"label")
        camera.publish(IMAGE, b"image")
        found: dict[str, bytes] = {}
        while found.keys() != seen.keys() or not intruder.inbox.empty():
            topic, payload = intruder.get()  # once for each of its filters
            assert seen.get(topic) == payload
            found[topic] = payload


def test_a_camera_reads_nothing(secure: Secure) -> None:
    with (
        secure.client("camera", "#", IMAGE) as camera,
        secure.client("pi-0", IMAGE) as node,
    ):
        camera.publish(IMAGE, b"image")
        assert node.get() == (IMAGE, b"image")
        node.publish(TOPICS.node_status("pi-0"), b"status")
    assert camera.inbox.empty()


def test_a_will_on_anothers_topic(secure: Secure) -> None:
    """The broker takes it with the connection, and drops it when the connection is lost."""
    topic = TOPICS.label("door").encode()
    rest = b"\0\4MQTT\4\6\0\x3c\0\4pi-1" + bytes((0, len(topic))) + topic + b"\0\6forged"
    gone = "Client pi-1 closed its connection"
    before = secure.log.read_text().count(gone)
    with secure.client("viewer", TOPICS.labels) as viewer:
        with tls_link(secure, context_of(secure.config("pi-1"))) as link:
            link.sendall(bytes((0x10, len(rest))) + rest)
            assert link.recv(4) == CONNACK
        wait_until(lambda: secure.log.read_text().count(gone) > before)
        with secure.client("aggregator") as aggregator:
            aggregator.publish(TOPICS.label("door"), b"true")
            assert viewer.get() == (TOPICS.label("door"), b"true")


@pytest.mark.parametrize("client_id", ["aggregator", TOPICS.aggregator_client_id(0)])
def test_nobody_takes_anothers_place(secure: Secure, client_id: str) -> None:
    """Under its client id a broker would throw the aggregator out, and give its session away."""
    taken = TOPICS.aggregator_client_id(0)
    with secure.client("aggregator", TOPICS.features("+"), client_id=taken) as aggregator:
        with secure.client("pi-1", client_id=client_id) as intruder:
            intruder.publish(TOPICS.feature(0, "pi-1"), b"own")
            assert aggregator.get() == (TOPICS.feature(0, "pi-1"), b"own")
        assert aggregator.connections == 1


def test_one_certificate_is_one_connection(secure: Secure) -> None:
    with (
        secure.client("viewer", client_id="one") as first,
        secure.client("viewer", client_id="two"),
    ):
        wait_until(lambda: first.connections > 1)  # it was thrown out, and came back


IMPOSTORS: dict[str, tuple[Callable[[Pair], Pair], str]] = {
    "stranger": (
        lambda _: authority.new_server(authority.new_authority(), ["localhost"]),
        "verify|self-signed|issuer|signature",
    ),
    "expired": (
        lambda real: authority.new_server(real, ["localhost"], life_days=-1),
        "expired",
    ),
    "elsewhere": (lambda real: authority.new_server(real, ["hub.other"]), "ostname"),
    "member": (lambda real: authority.new_client(real, "localhost"), "purpose"),
}


@pytest.mark.parametrize("kind", IMPOSTORS)
def test_no_impostor_gets_a_message(secure: Secure, tmp_path: Path, kind: str) -> None:
    make, reason = IMPOSTORS[kind]
    problem = rf"not trusted \(.*({reason}).*\); check broker.ca_file"
    with TlsServer(tmp_path, make(secure.authority())) as impostor:
        url = f"mqtts://localhost:{impostor.port}"
        config = msgspec.structs.replace(secure.config("pi-0"), url=url)
        with pytest.raises(BrokerError, match=problem):
            Client(config, client_id="pi-0").__enter__()
    assert impostor.told == b""
