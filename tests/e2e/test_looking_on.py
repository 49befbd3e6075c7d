"""`devit top` and `devit labels` as a person runs them, against a real broker."""

import json
import os
import pty
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from devit_iot.cli import top as top_command
from devit_iot.cli.devit import main
from devit_iot.config.config import BrokerConfig
from devit_iot.demo.processes import FleetProcesses, find_broker, free_port
from devit_iot.homeassistant.devices import Devices, device_id
from devit_iot.programs import own_program
from devit_iot.protocol.topics import DiscoveryTopics, Topics
from tests.e2e.commands import assert_one_line_error, command
from tests.golden.make import AGGREGATOR_STATUS, LABEL, NODE_STATUS_3, NODE_STATUS_4
from tests.support.fleets import make_bundle, wait_until
from tests.support.mosquitto import Client

TOPICS = Topics("test")
HOSTILE = "[red]cat[/red]"


def say_label(client: Client, request: int, camera: str = "door") -> None:
    label = msgspec.structs.replace(
        LABEL, request_id=f"{request:032x}", camera=camera, label=HOSTILE
    )
    client.publish(TOPICS.label(camera), label.encode(), retain=True)


@contextmanager
def labels(url: str, log: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`devit labels` that is connected."""
    program = [*own_program("devit_iot.cli.devit"), "labels"]
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [*program, "--fleet", "test", "--broker", url, *options],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        wait_until(lambda: "connected" in log.read_text(), 30)
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_top_prints_a_snapshot(processes: FleetProcesses) -> None:
    processes.start_broker(find_broker())
    with Client(BrokerConfig(url=processes.url)) as client:
        client.publish(TOPICS.node_status("pi-1"), NODE_STATUS_3.encode(), retain=True)
        aggregator = msgspec.structs.replace(AGGREGATOR_STATUS, state="online")
        client.publish(TOPICS.aggregator_status(0), aggregator.encode(), retain=True)
        say_label(client, 1)
        options = ["--broker", processes.url, "--fleet", "test"]
        tables = command("devit", "top", "--once", *options, environment={"COLUMNS": "150"})
        machine = command("devit", "top", "--json", *options)
    assert tables.returncode == 0, tables.stderr
    for fact in ("parts online 3 of 4", "pi-1", "62 °C", HOSTILE, "#.#. degraded"):
        assert fact in tables.stdout
    view = json.loads(machine.stdout)
    assert view["parts_online"] == [0, 1, 2]
    assert view["nodes"][0]["temperature_c"] == 61.5
    assert view["cameras"][0]["retained"]


def test_top_without_a_broker_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_command, "READY_S", 0.5)
    done = CliRunner().invoke(
        main, ["top", "--once", "--broker", f"mqtt://127.0.0.1:{free_port()}"]
    )
    assert done.exit_code == 1
    assert "no answer from the broker" in done.output


def test_plan_takes_what_nodes_announced(processes: FleetProcesses, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "fleet", parts=2)
    options = ["--announced", "--broker", processes.url, "--fleet", "test", "--json"]
    processes.start_broker(find_broker())
    with Client(BrokerConfig(url=processes.url)) as client:
        empty = command("devit", "plan", "--bundle", bundle.path, *options)
        for name in ("pi-1", "pi-2", "pi-3"):
            said = msgspec.structs.replace(
                NODE_STATUS_4, node=name, state="offline" if name == "pi-2" else "online"
            )
            client.publish(TOPICS.node_status(name), said.encode(), retain=True)
        done = command("devit", "plan", "--bundle", bundle.path, *options)
    assert empty.returncode == 1
    assert "no node of the fleet 'test' announced a measured board" in empty.stderr
    assert done.returncode == 0, done.stderr
    assert {board["name"] for board in json.loads(done.stdout)["boards"]} == {"pi-1", "pi-3"}
    assert "left out: pi-2, it is offline" in done.stderr


def test_labels_are_lines(processes: FleetProcesses, tmp_path: Path) -> None:
    processes.start_broker(find_broker())
    log = tmp_path / "labels.log"
    with Client(BrokerConfig(url=processes.url)) as client:
        say_label(client, 1)  # the broker keeps it: old
        with labels(processes.url, log, "--count", "2", "--camera", "door") as process:
            say_label(client, 2, "yard")
            client.publish(TOPICS.label("door"), b"rubbish")
            say_label(client, 3)
            say_label(client, 4)
            out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    lines = [line.split("  ", 1)[1] for line in out.splitlines()]
    assert lines == [f"door  {HOSTILE}  75.0%  #.#.  degraded"] * 2
    assert f"refused message on '{TOPICS.label('door')}'" in log.read_text()


def test_a_deleted_label_is_no_line_and_no_refusal(
    processes: FleetProcesses, tmp_path: Path
) -> None:
    processes.start_broker(find_broker())
    log = tmp_path / "labels.log"
    with (
        Client(BrokerConfig(url=processes.url)) as client,
        labels(processes.url, log, "--count", "2", "--json") as process,
    ):
        say_label(client, 1)
        client.publish(TOPICS.label("door"), b"", retain=True)
        say_label(client, 2)
        out, _ = process.communicate(timeout=20)
    assert [request_of(line) for line in out.splitlines()] == [1, 2]
    assert "refused" not in log.read_text()


def test_forget_takes_away_who_is_gone(processes: FleetProcesses) -> None:
    processes.start_broker(find_broker())
    options = ("--broker", processes.url, "--fleet", "test")
    device = DiscoveryTopics().device(device_id("test", "camera", "door"))
    _, announcement = Devices("test", shards=1, version="1").camera("door")
    with Client(BrokerConfig(url=processes.url)) as client:
        for camera in ("door", "yard"):
            say_label(client, 1, camera)
        client.publish(TOPICS.node_status("pi-1"), NODE_STATUS_3.encode(), retain=True)
        client.publish(device, announcement, retain=True)
    done = command("devit", "forget", *options, "--camera", "door", "--node", "pi-1")
    assert done.returncode == 0, done.stderr
    gone = (TOPICS.label("door"), TOPICS.node_status("pi-1"), device)
    assert done.stdout.splitlines() == sorted(f"removed {topic}" for topic in gone)
    assert "restart the aggregator" in done.stderr
    view = json.loads(command("devit", "top", "--json", *options).stdout)
    assert ([row["camera"] for row in view["cameras"]], view["nodes"]) == (["yard"], [])
    again = command("devit", "forget", *options, "--camera", "door")
    assert (again.returncode, again.stdout) == (0, "nothing of them at the broker\n")


def test_forget_wants_to_know_whom() -> None:
    assert_one_line_error(command("devit", "forget"), "--camera, --node, --shard or --cell")


def test_labels_survive_the_broker(processes: FleetProcesses, tmp_path: Path) -> None:
    processes.start_broker(find_broker())
    log = tmp_path / "labels.log"
    with labels(processes.url, log, "--count", "2", "--json") as process:
        with Client(BrokerConfig(url=processes.url)) as client:
            say_label(client, 1)
        assert process.stdout is not None
        assert request_of(process.stdout.readline()) == 1
        processes.kill("broker")
        processes.start_broker(find_broker())
        wait_until(lambda: log.read_text().count("connected") == 2, 30)
        with Client(BrokerConfig(url=processes.url)) as client:
            say_label(client, 2)
        assert request_of(process.stdout.readline()) == 2
        assert process.wait(20) == 0


def request_of(line: str) -> int:
    found = json.loads(line)
    assert found["label"] == HOSTILE
    return int(found["request_id"], 16)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """What a terminal's programs do at SIGINT, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_top_is_live_until_ctrl_c(processes: FleetProcesses) -> None:
    """In a terminal, as a person on ssh has one."""
    processes.start_broker(find_broker())
    terminal, inside = pty.openpty()
    program = [*own_program("devit_iot.cli.devit"), "top", "--fleet", "test"]
    process = subprocess.Popen(
        [*program, "--broker", processes.url],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
    )
    os.close(inside)
    screen = Screen(terminal)
    try:
        wait_until(lambda: b"parts online 0 of 0" in screen.shown, 30)
        with Client(BrokerConfig(url=processes.url)) as client:
            aggregator = msgspec.structs.replace(AGGREGATOR_STATUS, state="online")
            client.publish(TOPICS.aggregator_status(0), aggregator.encode(), retain=True)
            say_label(client, 1)
        wait_until(lambda: b"parts online 3 of 4" in screen.shown, 30)
        wait_until(lambda: HOSTILE.encode() in screen.shown, 30)
        processes.kill("broker")
        wait_until(lambda: b"the broker is away" in screen.shown, 30)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


class Screen:
    """What a terminal was told, read as it comes."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._told = b""

    @property
    def shown(self) -> bytes:
        while select.select([self._terminal], [], [], 0)[0]:
            try:
                self._told += os.read(self._terminal, 65536)
            except OSError:  # the program has ended
                break
        return self._told
