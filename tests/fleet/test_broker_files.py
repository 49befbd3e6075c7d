"""broker/: a real mosquitto runs with these files."""

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from devit_iot.config.config import BrokerConfig
from devit_iot.demo.processes import free_port
from devit_iot.errors import BrokerError
from devit_iot.protocol.topics import Topics
from tests.support import mosquitto
from tests.support.mosquitto import PASSWD, WAIT_S, needs_mosquitto, running_mosquitto

FOLDER = Path(__file__).parents[2] / "broker"
NODES = ["pi-0", "pi-1", "pi-2", "pi-3"]
USERS = [*NODES, "camera", "aggregator", "viewer", "dashboard"]
TOPICS = Topics("home")


class Broker(NamedTuple):
    """A running mosquitto."""

    port: int
    websocket_port: int
    log: Path


class Client(mosquitto.Client):
    """Logs in with its user's password."""

    def __init__(self, port: int, user: str, *filters: str, password: str | None = None) -> None:
        config = BrokerConfig(url=f"mqtt://127.0.0.1:{port}", username=user)
        secret = f"secret of {user}" if password is None else password
        super().__init__(config, *filters, client_id=f"test-{user}", password=secret)


def localised(folder: Path, ports: dict[str, int]) -> str:
    """The shipped configuration with its paths and ports replaced, and nothing else."""
    text = (FOLDER / "mosquitto.conf").read_text()
    replacements = {"/etc/mosquitto/": f"{folder}/", "/var/lib/mosquitto/": f"{folder}/"}
    replacements |= {
        f"listener {old}\n": f"listener {new} 127.0.0.1\n" for old, new in ports.items()
    }
    for old, new in replacements.items():
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    folder = tmp_path_factory.mktemp("broker")
    passwd = folder / "passwd"
    passwd.touch(mode=0o600)
    for user in USERS:
        subprocess.run([str(PASSWD), "-b", str(passwd), user, f"secret of {user}"], check=True)
    shutil.copy(FOLDER / "acl", folder)
    (folder / "acl").chmod(0o600)
    running = Broker(free_port(), free_port(), folder / "log")
    config = folder / "mosquitto.conf"
    config.write_text(localised(folder, {"1883": running.port, "9001": running.websocket_port}))
    ports = [running.port, running.websocket_port]
    with running_mosquitto(config, ports, running.log):
        yield running


def test_compose_mounts_files_that_the_configuration_names() -> None:
    compose = (FOLDER / "compose.yaml").read_text()
    mounts = dict(re.findall(r"- \./([\w.]+):(/[\w./]+)", compose))
    conf = (FOLDER / "mosquitto.conf").read_text()
    assert mounts.pop("mosquitto.conf") in compose.split("command:")[1].splitlines()[0]
    for path in mounts.values():
        assert re.search(rf"^\w+ {re.escape(path)}/?$", conf, re.MULTILINE), path
    ports = re.findall(r'- "(\d+):\1"', compose)
    assert ports == re.findall(r"^listener (\d+)$", conf, re.MULTILINE)


@needs_mosquitto
def test_mosquitto_takes_every_line_without_complaint(broker: Broker) -> None:
    complaints = re.findall(r".*(?:Error|Note:|deprecated|Unknown).*", broker.log.read_text())
    assert complaints == []


@needs_mosquitto
def test_the_second_listener_speaks_websocket(broker: Broker) -> None:
    request = (
        "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: mqtt\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", broker.websocket_port), WAIT_S) as link:
        link.sendall(request.encode())
        assert link.recv(1024).startswith(b"HTTP/1.1 101")


@needs_mosquitto
@pytest.mark.parametrize(("user", "password"), [("pi-0", "wrong"), ("nobody", "x"), ("", "")])
def test_strangers_are_refused(broker: Broker, user: str, password: str) -> None:
    with (
        pytest.raises(BrokerError, match="refused us: not authorized"),
        Client(broker.port, user, password=password),
    ):
        pass


@needs_mosquitto
def test_a_node_writes_its_own_features_and_status_only(broker: Broker) -> None:
    with (
        Client(broker.port, "aggregator", TOPICS.features("+"), TOPICS.node_statuses) as aggregator,
        Client(broker.port, "pi-0") as node,
    ):
        node.publish(TOPICS.feature(0, "pi-1"), b"forged")
        node.publish(TOPICS.node_status("pi-1"), b"forged")
        node.publish(TOPICS.feature(0, "pi-0"), b"own")
        node.publish(TOPICS.node_status("pi-0"), b"own")
        assert aggregator.get() == (TOPICS.feature(0, "pi-0"), b"own")
        assert aggregator.get() == (TOPICS.node_status("pi-0"), b"own")
        assert aggregator.inbox.empty()


@needs_mosquitto
def test_labels_come_from_the_aggregator_only(broker: Broker) -> None:
    with (
        Client(broker.port, "viewer", TOPICS.labels, TOPICS.node_statuses) as viewer,
        Client(broker.port, "pi-0") as node,
        Client(broker.port, "aggregator") as aggregator,
    ):
        node.publish(TOPICS.label("door"), b"forged")
        node.publish(TOPICS.node_status("pi-0"), b"own")  # behind it on the same connection
        assert viewer.get() == (TOPICS.node_status("pi-0"), b"own")
        viewer.publish(TOPICS.label("door"), b"forged")
        aggregator.publish(TOPICS.label("door"), b"true")
        assert viewer.get() == (TOPICS.label("door"), b"true")
        assert viewer.inbox.empty()


@needs_mosquitto
def test_a_dashboard_reads_images_labels_and_statuses_and_writes_nothing(broker: Broker) -> None:
    with (
        Client(broker.port, "dashboard", "#") as dashboard,
        Client(broker.port, "camera") as camera,
        Client(broker.port, "aggregator", TOPICS.node_statuses) as aggregator,
        Client(broker.port, "pi-0") as node,
    ):
        dashboard.publish("cameras/door/image", b"forged")
        dashboard.publish(TOPICS.label("door"), b"forged")
        dashboard.publish(TOPICS.node_status("pi-0"), b"forged")
        camera.publish("cameras/door/image", b"image")
        assert dashboard.get() == ("cameras/door/image", b"image")
        node.publish(TOPICS.feature(0, "pi-0"), b"not for it")
        node.publish(TOPICS.node_status("pi-0"), b"status")
        assert dashboard.get() == (TOPICS.node_status("pi-0"), b"status")
        assert aggregator.get() == (TOPICS.node_status("pi-0"), b"status")
        aggregator.publish(TOPICS.label("door"), b"label")
        assert dashboard.get() == (TOPICS.label("door"), b"label")
        assert dashboard.inbox.empty()


@needs_mosquitto
def test_the_largest_image_passes_to_nodes_only(broker: Broker) -> None:
    image = bytes(16 * 2**20)
    with (
        Client(broker.port, "pi-0", "cameras/+/image") as node,
        Client(broker.port, "viewer", "#") as viewer,
        Client(broker.port, "camera") as camera,
    ):
        camera.publish("cameras/door/image", image)
        topic, payload = node.get()
        assert (topic, len(payload)) == ("cameras/door/image", len(image))
        assert viewer.inbox.empty()
