"""What `devit doctor` says of real brokers: sound ones, and each fault that it looks for."""

import json
import queue
import re
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devit_iot.config.config import BrokerConfig, Config, NodeConfig
from devit_iot.demo.processes import FleetProcesses, free_port
from devit_iot.doctor import broker as broker_module
from devit_iot.doctor.broker import check_broker
from devit_iot.doctor.finding import Finding
from devit_iot.doctor.tls import check_tls
from devit_iot.doctor.websocket import check_websocket
from devit_iot.fleet import authority
from devit_iot.fleet.authority import Pair
from devit_iot.protocol.status import NodeStatus
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Session
from devit_iot.transport.mqtt import MqttTransport
from tests.golden.make import NODE_STATUS_3
from tests.support.findings import found
from tests.support.fleets import wait_until
from tests.support.mosquitto import PASSWD, Client, listens, needs_mosquitto, running_mosquitto
from tests.support.stand_in_broker import Behaviour, StandInBroker
from tests.support.tls_server import TlsServer

TOPICS = Topics("home")
TOPIC = TOPICS.node_status("pi-1")
WAIT_S = 2.0
NOTHING: Mapping[str, str] = {}
SECRET = {"DEVIT_PASSWORD": "secret"}


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module, "RETAINED_S", 0.2)


@contextmanager
def mosquitto(folder: Path, *settings: str) -> Iterator[int]:
    """One on the loopback interface; yields its port."""
    port = free_port()
    config = folder / f"{port}.conf"
    config.write_text("\n".join((f"listener {port} 127.0.0.1", *settings)) + "\n")
    with running_mosquitto(config, [port], folder / f"{port}.log"):
        yield port


def config(port: int, **broker: str) -> Config:
    broker = {"url": f"mqtt://127.0.0.1:{port}"} | broker
    return Config(broker=BrokerConfig(**broker), node=NodeConfig(name="pi-1"))  # type: ignore[arg-type]


def checked(settings: Config, environment: Mapping[str, str] = NOTHING) -> dict[str, Finding]:
    return found(check_broker(settings, environment, WAIT_S))


KINDS = ("cafile", "certfile", "keyfile")
IDENTITY = ("use_identity_as_username true",)
ANYBODY = ("allow_anonymous true", "set_tcp_nodelay true")


@needs_mosquitto
def test_a_sound_broker(tmp_path: Path) -> None:
    with mosquitto(tmp_path, *ANYBODY) as port:
        findings = checked(config(port))
    assert not [finding for finding in findings.values() if finding.level == "bad"]
    assert list(findings) == [
        "network", "tls", "login", "limits", "images", "delivery", "round trip",
        "shared subscriptions", "retained messages", "will", "websocket",
    ]  # fmt: skip
    assert findings["limits"].text == "takes 20 messages at once, packets of any size"
    assert findings["retained messages"].text.startswith("kept, and delivered")
    assert findings["will"].text.startswith("published")
    assert "MQTT 5" in findings["login"].text
    assert findings["shared subscriptions"].text.startswith("delivered")


@needs_mosquitto
def test_a_running_node_is_not_disturbed(tmp_path: Path) -> None:
    said = msgspec.structs.replace(NODE_STATUS_3, node="pi-1").encode()
    with mosquitto(tmp_path, *ANYBODY) as port:
        broker = config(port).broker
        with (
            Client(broker, client_id=TOPICS.node_client_id("pi-1")) as node,
            Client(broker, TOPIC) as onlooker,
        ):
            node.publish(TOPIC, said, retain=True)
            onlooker.get()
            findings = checked(config(port))
            assert findings["delivery"].level == "ok"
            assert findings["retained messages"].text.startswith("kept: the node's last status")
            assert node.connections == 1
            others = [onlooker.inbox.get() for _ in range(onlooker.inbox.qsize())]
        assert {message.payload.rstrip() for message in others} == {said}
        with Client(broker, TOPIC) as later:
            assert later.get() == (TOPIC, said)


def keeping(port: int, inbox: "queue.Queue[bytes]") -> MqttTransport:
    """What a node with `every` cameras is to the broker."""
    transport = MqttTransport(
        config(port, username="pi-1").broker,
        client_id=TOPICS.node_client_id("pi-1"),
        password=SECRET["DEVIT_PASSWORD"],
        session=Session(600, 20),
    )
    transport.subscribe(
        "cameras/x", lambda message: inbox.put(message.payload), qos=1, manual_ack=True
    )
    transport.start(on_ready=lambda: None, on_refused=print)
    wait_until(lambda: transport.connected)
    return transport


@needs_mosquitto
def test_a_session_that_the_broker_calls_after_its_user_is_left_alone(
    tmp_path: Path, passwords: Path
) -> None:
    inbox: queue.Queue[bytes] = queue.Queue()
    settings = (f"password_file {passwords}", "use_username_as_clientid true")
    subprocess.run([str(PASSWD), "-b", str(passwords), "camera", "secret"], check=True)
    with mosquitto(tmp_path, *settings) as port:
        keeping(port, inbox).stop()
        camera = config(port, username="camera").broker
        with Client(camera, client_id="camera", password="secret") as client:  # noqa: S106
            for number in range(3):
                client.publish("cameras/x", bytes([number]))
        findings = checked(config(port, username="pi-1"), SECRET)
        assert findings["login"].level == "warn"
        assert "in the place of a node" in findings["login"].text
        assert "delivery" not in findings
        assert inbox.empty()
        node = keeping(port, inbox)
        try:
            assert [inbox.get(timeout=10) for _ in range(3)] == [b"\0", b"\1", b"\2"]
            assert checked(config(port, username="pi-1"), SECRET)["login"].level == "warn"
            wait_until(lambda: node.connected)  # again
        finally:
            node.stop()


@needs_mosquitto
def test_a_broker_that_lets_a_user_in_once(tmp_path: Path, passwords: Path) -> None:
    settings = (f"password_file {passwords}", "use_username_as_clientid true")
    with mosquitto(tmp_path, *settings) as port:
        findings = checked(config(port, username="pi-1"), SECRET)
    assert findings["delivery"].level == "ok"
    assert findings["shared subscriptions"].level == "ok"
    assert "lets a user in once" in findings["shared subscriptions"].text


@needs_mosquitto
def test_a_node_that_does_not_run_stays_offline(tmp_path: Path) -> None:
    with mosquitto(tmp_path, *ANYBODY) as port, Client(config(port).broker, TOPIC) as onlooker:
        assert checked(config(port))["delivery"].level == "ok"
        said = {onlooker.inbox.get().payload for _ in range(onlooker.inbox.qsize())}
        with Client(config(port).broker, TOPIC) as later:
            assert later.inbox.empty()  # nothing is left behind
    assert {NodeStatus.decode(payload).state for payload in said if payload} == {"offline"}


@needs_mosquitto
def test_a_broker_without_retained_messages(tmp_path: Path) -> None:
    with mosquitto(tmp_path, *ANYBODY, "retain_available false") as port:
        finding = checked(config(port))["retained messages"]
    assert finding.level == "bad"
    assert "retain_available true" in finding.remedy


@needs_mosquitto
def test_the_limits_of_a_broker(tmp_path: Path) -> None:
    settings = ("max_packet_size 20000", "max_inflight_messages 7")
    with mosquitto(tmp_path, *ANYBODY, *settings) as port:
        finding = checked(config(port))["limits"]
    assert finding.level == "warn"
    assert "takes 7 messages at once, packets of 20000 B: a status may not fit" in finding.text


def test_a_broker_that_lies_about_retained_messages_and_the_will() -> None:
    """The stand-in keeps nothing for later subscribers, and knows no wills."""
    with StandInBroker(Behaviour(forgetful=True)) as broker:
        findings = checked(config(broker.port))
    assert findings["delivery"].level == "ok"
    assert findings["retained messages"].level == "bad"
    assert findings["will"].level == "bad"


def test_a_broker_of_qos_0() -> None:
    with StandInBroker(Behaviour(properties=b"\x24\x00")) as broker:
        assert checked(config(broker.port))["limits"].level == "bad"


@needs_mosquitto
def test_nagles_algorithm(tmp_path: Path) -> None:
    with mosquitto(tmp_path, "allow_anonymous true", "set_tcp_nodelay false") as port:
        for _ in range(3):  # the kernel decides whether it acknowledges late
            finding = checked(config(port))["round trip"]
            if finding.level == "warn":
                break
    assert "held back" in finding.text
    assert "set_tcp_nodelay true" in finding.remedy


def test_a_broker_of_mqtt_3_only(tmp_path: Path) -> None:
    with FleetProcesses(tmp_path, bundle=tmp_path, fleet="home") as processes:
        processes.start_broker("amqtt")
        findings = checked(config(processes.port))
    assert "MQTT 3.1.1" in findings["login"].text
    assert findings["delivery"].level == "ok"


def test_no_broker() -> None:
    findings = checked(config(free_port()))
    assert list(findings) == ["network"]
    assert findings["network"].level == "bad"


def test_something_else_than_a_broker() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        finding = found(check_broker(config(server.getsockname()[1]), {}, 0.3))["login"]
    assert finding.level == "bad"
    assert "does not answer MQTT" in finding.text


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    file = tmp_path / "passwords"
    file.touch(mode=0o600)
    subprocess.run([str(PASSWD), "-b", str(file), "pi-1", "secret"], check=True)
    return file


@needs_mosquitto
def test_passwords(tmp_path: Path, passwords: Path) -> None:
    with mosquitto(tmp_path, f"password_file {passwords}") as port:
        asked = config(port, username="pi-1")
        assert checked(asked, SECRET)["login"].text.startswith("let in as pi-1")
        for wrong in (
            checked(asked, {"DEVIT_PASSWORD": "another"}),
            checked(config(port)),
            checked(config(port, username="pi-1", password_file=str(tmp_path / "nowhere"))),
        ):
            assert wrong["login"].level == "bad"
            assert "delivery" not in wrong


RULES = {
    "neither": (["topic read cameras/#", "topic read frigate/#"], "refuses what we publish"),
    "write only": ([f"topic write {TOPIC}"], "grants .* and delivers nothing"),
    "read only": ([f"topic read {TOPIC}"], "refuses what we publish"),
}


@needs_mosquitto
@pytest.mark.parametrize("case", RULES)
def test_an_access_list_without_our_status(tmp_path: Path, passwords: Path, case: str) -> None:
    rules, problem = RULES[case]
    acl = tmp_path / "acl"
    acl.write_text("\n".join(("user pi-1", *rules)) + "\n")
    acl.chmod(0o600)
    with mosquitto(tmp_path, f"password_file {passwords}", f"acl_file {acl}") as port:
        finding = checked(config(port, username="pi-1"), SECRET)["delivery"]
    assert finding.level == "bad"
    assert re.search(problem, finding.text)
    assert "devit acl" in finding.remedy


@pytest.fixture(scope="module")
def root() -> Pair:
    return authority.new_authority()


def files(folder: Path, root: Pair, own: Pair | None = None) -> dict[str, str]:
    contents = {"ca_file": root.certificate}
    if own is not None:
        contents |= {"cert_file": own.certificate, "key_file": own.key}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: str(folder / name) for name in contents}


def tls(port: int, **settings: str) -> dict[str, Finding]:
    url = f"mqtts://localhost:{port}"
    return found(check_tls(BrokerConfig(url=url, **settings), WAIT_S))  # type: ignore[arg-type]


def test_sound_certificates(tmp_path: Path, root: Pair) -> None:
    own = authority.new_client(root, "pi-1")
    with TlsServer(tmp_path, authority.new_server(root, ["localhost"])) as server:
        findings = tls(server.port, **files(tmp_path, root, own))
    assert {finding.level for finding in findings.values()} == {"ok"}
    assert set(findings) == {"tls", "authority", "certificate"}
    assert "TLSv1.3" in findings["tls"].text


@pytest.mark.parametrize(("days", "level"), [(-1.0, "bad"), (10.0, "warn")])
def test_a_brokers_certificate_runs_out(
    tmp_path: Path, root: Pair, days: float, level: str
) -> None:
    with TlsServer(tmp_path, authority.new_server(root, ["localhost"], days)) as server:
        finding = tls(server.port, **files(tmp_path, root))["tls"]
    assert finding.level == level
    assert ("expired" if days < 0 else "10 days") in finding.text


@pytest.mark.parametrize(("days", "level"), [(-1.0, "bad"), (10.0, "warn")])
def test_our_certificate_runs_out(tmp_path: Path, root: Pair, days: float, level: str) -> None:
    own = authority.new_client(root, "pi-1", days)
    with TlsServer(tmp_path, authority.new_server(root, ["localhost"])) as server:
        finding = tls(server.port, **files(tmp_path, root, own))["certificate"]
    assert finding.level == level
    assert ("expired" if days < 0 else "10 days") in finding.text


def test_a_broker_of_another_authority(tmp_path: Path, root: Pair) -> None:
    with TlsServer(tmp_path, authority.new_server(root, ["localhost"])) as server:
        finding = tls(server.port, **files(tmp_path, authority.new_authority()))["tls"]
    assert finding.level == "bad"
    assert "not trusted" in finding.text


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    finding = tls(free_port(), ca_file=str(tmp_path / "nowhere"))["tls"]
    assert finding.level == "bad"
    assert "ca_file" in finding.text


@needs_mosquitto
def test_a_broker_that_wants_certificates(tmp_path: Path, root: Pair) -> None:
    server = authority.new_server(root, ["localhost"])
    names = ("root.crt", "server.crt", "server.key")
    for name, content in zip(names, (root.certificate, *server), strict=True):
        (tmp_path / name).write_bytes(content)
    files_of_it = (f"{kind} {tmp_path / name}" for kind, name in zip(KINDS, names, strict=True))
    stranger = authority.new_client(authority.new_authority("another"), "pi-1")
    (tmp_path / "ours").mkdir()
    (tmp_path / "others").mkdir()
    ours = files(tmp_path / "ours", root, authority.new_client(root, "pi-1"))
    others = files(tmp_path / "others", root, stranger)
    with mosquitto(tmp_path, *files_of_it, "require_certificate true", *IDENTITY) as port:
        url = f"mqtts://localhost:{port}"
        assert checked(config(port, url=url, **ours))["delivery"].level == "ok"
        refused = checked(config(port, url=url, **others))
        without = checked(config(port, url=url, ca_file=ours["ca_file"]))
    assert refused["login"].level == without["login"].level == "bad"
    assert "refuses our certificate" in refused["login"].text
    assert "cert_file" in without["login"].remedy


@needs_mosquitto
def test_tls_towards_a_broker_without_it(tmp_path: Path) -> None:
    with mosquitto(tmp_path, *ANYBODY) as port:
        findings = checked(config(port, url=f"mqtts://127.0.0.1:{port}"))
    assert findings["tls"].level == "bad"
    assert "login" not in findings


@pytest.mark.parametrize(
    ("url", "username", "level"),
    [
        ("mqtt://localhost", "pi-1", "ok"),
        ("mqtt://hub.local", "", "ok"),
        ("mqtt://hub.local", "pi-1", "warn"),
    ],
)
def test_passwords_in_the_clear(url: str, username: str, level: str) -> None:
    (finding,) = found(check_tls(BrokerConfig(url=url, username=username), WAIT_S)).values()
    assert finding.level == level


@needs_mosquitto
def test_websockets(tmp_path: Path) -> None:
    second = free_port()
    listener = (f"listener {second} 127.0.0.1", "protocol websockets")
    with mosquitto(tmp_path, *ANYBODY, *listener) as port:
        wait_until(lambda: listens(second))
        assert check_websocket("127.0.0.1", WAIT_S, (port, second)).level == "ok"
        finding = check_websocket("127.0.0.1", WAIT_S, (port,))
    assert finding.level == "warn"
    assert "protocol websockets" in finding.remedy


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command where nothing but the base install is there."""
    program = (
        "import sys\n"
        "for name in ('rich', 'torch', 'cryptography', 'prometheus_client', 'amqtt'):\n"
        "    sys.modules[name] = None\n"
        "from devit_iot.cli.doctor import doctor\n"
        "doctor()\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def report(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(done.stdout)
    return decoded


def by_check(decoded: Iterable[dict[str, str]]) -> dict[str, dict[str, str]]:
    return {finding["check"]: finding for finding in decoded}


@needs_mosquitto
def test_the_command(tmp_path: Path) -> None:
    with mosquitto(tmp_path, *ANYBODY) as port:
        done = doctor("--broker", f"mqtt://127.0.0.1:{port}", "--name", "pi-1")
    lines = done.stdout.splitlines()
    assert any(line.startswith("ok   delivery") for line in lines)
    wrong = any(line.startswith("bad") for line in lines)  # this machine may be hot
    assert (done.returncode, done.stderr) == (int(wrong), "")
    assert "\x1b" not in done.stdout  # colours are for terminals


def test_the_command_fails_if_something_is_bad() -> None:
    arguments = ("--broker", f"mqtt://127.0.0.1:{free_port()}")
    done = doctor(*arguments)
    assert (done.returncode, done.stderr) == (1, "")
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("bad"))
    assert "unreachable" in line
    machine = doctor(*arguments, "--json")
    assert machine.returncode == 1
    decoded = report(machine)
    assert decoded["sound"] is False
    assert by_check(decoded["findings"])["network"]["remedy"]
