"""A NATS cluster with the files of `devit fleet`: who gets in, and what it may do there."""

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from click.testing import CliRunner

from devit_iot.cli.devit import main
from devit_iot.config.broker import BrokerConfig
from devit_iot.config.config import load_config
from devit_iot.errors import BrokerError, ConfigError
from devit_iot.fleet import authority
from devit_iot.fleet.authority import Pair
from devit_iot.fleet.folder import FleetFolder, FleetState
from devit_iot.fleet.nats import nats_conf
from devit_iot.protocol.topics import Topics
from devit_iot.transport import mqtt
from devit_iot.transport.base import Message, Session
from devit_iot.transport.mqtt import MqttTransport
from tests.support.fleets import wait_until
from tests.support.mosquitto import Client
from tests.support.nats import NatsCluster, needs_nats

SHIPPED = Path(__file__).parents[2] / "broker" / "nats" / "nats.conf"
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
TOPICS = Topics("home")
IMAGE = "cameras/door/image"


class Secure(NamedTuple):
    """A fleet with running brokers."""

    folder: FleetFolder
    cluster: NatsCluster

    def config(self, name: str) -> BrokerConfig:
        """What a client was given, with the ports of this test."""
        given = load_config([self.folder.path / "clients" / name / "devit.toml"], {}).broker
        urls = (f"mqtts://127.0.0.1:{port}" for port in self.cluster.ports)
        return msgspec.structs.replace(given, url=",".join(urls))

    def client(self, name: str, *filters: str, client_id: str = "") -> Client:
        return Client(self.config(name), *filters, client_id=client_id or name)

    def stranger(self, pair: Pair) -> BrokerConfig:
        """A client with another certificate, that trusts the real brokers."""
        folder = self.folder.path
        (folder / "own.crt").write_bytes(pair.certificate)
        (folder / "own.key").write_bytes(pair.key)
        files = {"cert_file": str(folder / "own.crt"), "key_file": str(folder / "own.key")}
        return msgspec.structs.replace(self.config("viewer"), **files)


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "CLUSTER_DENIES_S", 0.0)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    path = tmp_path_factory.mktemp("secure") / "fleet"
    broker = path / "broker"
    state = FleetState("home", HOSTS, broker_folder=str(broker), broker_kind="nats")
    folder = FleetFolder.create(path, state)
    for name in ("pi-0", "pi-1", "lost"):
        folder.add(name, "node", 0)
    conf = (broker / "nats.conf").read_text()
    with NatsCluster(broker, len(HOSTS), conf) as cluster:
        yield Secure(folder, cluster)


def test_the_shipped_configuration_is_the_generated_one() -> None:
    hosts = ("hub-1.local", "hub-2.local", "hub-3.local")
    made = nats_conf("home", hosts, port=8883, folder="/etc/nats", data_folder="/var/lib/nats")
    assert SHIPPED.read_text() == made


def test_clients_of_a_cluster_know_all_of_it(tmp_path: Path) -> None:
    hosts = [word for host in ("a.local", "::1", "c.local") for word in ("--host", host)]
    path = str(tmp_path / "fleet")
    done = CliRunner().invoke(main, ["fleet", "init", path, *hosts, "--broker-kind", "nats"])
    assert done.exit_code == 0, done.output
    config = load_config([tmp_path / "fleet/clients/viewer/devit.toml"], {})
    assert config.broker.url == "mqtts://a.local:8883,mqtts://[::1]:8883,mqtts://c.local:8883"
    files = {file.name for file in (tmp_path / "fleet/broker").iterdir()}
    assert files >= {"nats.conf", "acl.conf", "peer.crt", "peer.key", "peers.crt"}
    assert "mosquitto.conf" not in files
    assert "nats-route://[::1]:6222" in (tmp_path / "fleet/broker/nats.conf").read_text()


def test_one_nats_broker_has_no_cluster_and_two_are_refused(tmp_path: Path) -> None:
    FleetFolder.create(tmp_path / "one", FleetState("home", ("a",), broker_kind="nats"))
    text = (tmp_path / "one/broker/nats.conf").read_text()
    assert "cluster {" not in text
    assert "stream_replicas: 1" in text
    with pytest.raises(ConfigError, match="give one host, or three"):
        FleetFolder.create(tmp_path / "two", FleetState("home", ("a", "b"), broker_kind="nats"))
    assert not (tmp_path / "two").exists()


@needs_nats
def test_the_access_list_is_held(secure: Secure) -> None:
    filters = (TOPICS.features("+"), TOPICS.node_statuses)
    with (
        secure.client("aggregator", *filters) as aggregator,
        secure.client("viewer", TOPICS.labels) as viewer,
        secure.client("pi-0", "cameras/+/image") as node,
        secure.client("camera") as camera,
    ):
        for topic in (TOPICS.feature(0, "pi-1"), TOPICS.node_status("pi-1"), TOPICS.label("door")):
            node.publish(topic, b"forged", retain=True)
        viewer.publish(TOPICS.label("door"), b"forged", retain=True)
        node.publish(TOPICS.feature(0, "pi-0"), b"own")
        aggregator.publish(TOPICS.label("door"), b"true", retain=True)
        camera.publish(IMAGE, b"jpeg")
        assert aggregator.get() == (TOPICS.feature(0, "pi-0"), b"own")
        assert viewer.get() == (TOPICS.label("door"), b"true")
        assert node.get() == (IMAGE, b"jpeg")
        assert [c.inbox.qsize() for c in (aggregator, viewer, node)] == [0, 0, 0]
        assert node.connections == 1
    with secure.client("viewer", TOPICS.labels, TOPICS.node_statuses) as later:
        assert later.get() == (TOPICS.label("door"), b"true")
        assert later.inbox.empty()


@needs_nats
@pytest.mark.parametrize("asked", ["#", "devit/#", TOPICS.labels, "+/+/+/+/+", "cameras/#"])
def test_a_node_that_asks_for_more_is_told_so(secure: Secure, asked: str) -> None:
    with pytest.raises(BrokerError, match="denies the subscription"), secure.client("pi-0", asked):
        pass


@needs_nats
@pytest.mark.parametrize("asked", ["$MQTT/msgs/#", "$MQTT/sub/#", "$JS/#", "$SYS/#"])
def test_nobody_reads_what_nats_keeps_for_itself(secure: Secure, asked: str) -> None:
    with (
        pytest.raises(BrokerError, match="denies the subscription"),
        secure.client("aggregator", asked),
    ):
        pass


@needs_nats
def test_strangers_do_not_get_in(secure: Secure) -> None:
    root = secure.folder.path / "authority"
    ours = Pair((root / "ca.crt").read_bytes(), (root / "ca.key").read_bytes())
    other = authority.new_authority()
    for pair in (
        authority.new_client(other, "pi-0"),  # another authority signed it
        authority.new_client(ours, "pi-0", life_days=-1),
        authority.new_client(ours, "nobody"),  # not in the list
        authority.new_server(ours, ["viewer"]),  # a broker's
    ):
        with pytest.raises(BrokerError), Client(secure.stranger(pair), client_id="stranger"):
            pass


@needs_nats
def test_who_takes_another_ones_place_reads_no_more_than_it_may(secure: Secure) -> None:
    """Any member may call itself like a node; the node's subscription is still denied to it."""
    session = Session(600, 20)
    node = MqttTransport(secure.config("pi-1"), client_id="shared", session=session)
    node.subscribe("cameras/+/image", lambda _message: None, qos=1)
    node.start(on_ready=lambda: None, on_refused=lambda _error: None)
    wait_until(lambda: node.connected)
    node.stop()
    stolen: list[Message] = []
    viewer = MqttTransport(secure.config("viewer"), client_id="shared", session=session)
    viewer.subscribe(TOPICS.labels, lambda _message: None)
    ready: list[float] = []
    viewer.start(on_ready=lambda: ready.append(time.monotonic()), on_refused=lambda _error: None)
    viewer._on_stray = lambda *a: stolen.append(a[2])  # type: ignore[method-assign]
    try:
        wait_until(lambda: ready)
        with (
            secure.client("pi-0", "cameras/+/image") as witness,
            secure.client("camera") as camera,
        ):
            camera.publish(IMAGE, b"secret")
            witness.get()
            connections = len(ready)
            viewer.redeliver()
            wait_until(lambda: len(ready) > connections)
        assert stolen == []
    finally:
        viewer.stop()


@needs_nats
def test_no_member_passes_for_a_broker(secure: Secure) -> None:
    """Whoever joins the cluster reads everything."""
    client = secure.folder.path / "clients" / "aggregator"
    broker = secure.folder.path / "broker"
    for cert, key, welcome in (
        (client / "client.crt", client / "client.key", False),
        (broker / "broker.crt", broker / "broker.key", False),
        (broker / "peer.crt", broker / "peer.key", True),
    ):
        assert takes_part(secure.cluster.cluster_ports[0], cert, key) == welcome


def takes_part(port: int, cert: Path, key: Path) -> bool:
    """Whether a broker goes on talking with whoever shows that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(cert, key)
    with socket.create_connection(("127.0.0.1", port), 20) as link:
        try:
            with context.wrap_socket(link) as secured:
                return secured.recv(4096).startswith(b"INFO ")
        except OSError:
            return False


@needs_nats
def test_a_revoked_board_is_shut_out(secure: Secure) -> None:
    config = secure.config("lost")
    kept = secure.folder.path / "kept"
    kept.mkdir()
    for name in ("client.crt", "client.key"):
        (kept / name).write_bytes((secure.folder.path / "clients" / "lost" / name).read_bytes())
    config = msgspec.structs.replace(
        config,
        ca_file=str(secure.folder.path / "broker" / "ca.crt"),
        cert_file=str(kept / "client.crt"),
        key_file=str(kept / "client.key"),
    )
    with Client(config, client_id="lost") as lost:
        secure.folder.revoke("lost")
        secure.cluster.reload()
        wait_until(lambda: not lost.transport.connected)
    with pytest.raises(BrokerError), Client(config, client_id="lost"):
        pass
