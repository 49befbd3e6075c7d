"""`devit-aggregate start --hub`: aggregator and hub in one process, with a real mosquitto."""

import signal
import subprocess
from pathlib import Path

import pytest

from devit_iot.demo.processes import free_port
from devit_iot.fleet.folder import FleetFolder, FleetState
from devit_iot.programs import own_program
from tests.e2e.commands import assert_one_line_error, command
from tests.support.fleets import make_bundle, wait_until
from tests.support.hub_fleet import HubFleet, Watcher, wait_serving
from tests.support.mosquitto import needs_mosquitto, running_mosquitto

PARTS = 2
NODES = ("pi-0", "pi-1")
WAIT_S = 300.0


class OneProcess(HubFleet):
    """A fleet whose aggregator is the hub too."""

    def start(self, name: str, *options: str) -> None:
        """Start one process; a node with more options."""
        if name != "both":
            super().start(name, *options)
            return
        line = [*own_program("devit_iot.cli.aggregate"), "start", "--hub"]
        store = ("--store", str(self.folder / "stores/both"), "--config", str(self.config))
        self._start(name, [*line, *store, "--hub-folder", str(self.folder / "hub")])
        wait_until((self.folder / "hub/token").exists, WAIT_S)


@needs_mosquitto
def test_one_process_is_aggregator_and_hub(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", parts=PARTS)
    with OneProcess(tmp_path) as fleet:
        for name in ("broker", "both", *NODES):
            fleet.start(name)
        with Watcher(fleet.url).connected() as watcher:
            wait_until(lambda: set(NODES) <= fleet.status().nodes.keys(), WAIT_S)
            number = fleet.client.push(bundle, "").number
            wait_serving(watcher, number, NODES)
            with watcher.camera(3.0):
                wait_until(lambda: "is good" in fleet.status().outcome, WAIT_S)
            fleet.kill("both")
            fleet.start("both")
            watcher.show()
            wait_until(lambda: not watcher.missing, WAIT_S)
            assert fleet.status().rollout.current is not None
        assert fleet.terminate("both") == 0
        assert "Traceback" not in fleet.log("both")


@needs_mosquitto
def test_each_comes_to_the_broker_as_itself(tmp_path: Path) -> None:
    port, files = free_port(), free_port()
    broker = tmp_path / "fleet/broker"
    state = FleetState("home", ("127.0.0.1",), port, broker_folder=str(broker))
    owner = FleetFolder.create(tmp_path / "fleet", state)
    owner.add("hub", "hub")
    clients = tmp_path / "fleet/clients"
    line = [
        *own_program("devit_iot.cli.aggregate"), "start", "--hub",
        "--config", str(clients / "aggregator/devit.toml"), "--store", str(tmp_path / "store"),
        "--hub-config", str(clients / "hub/devit.toml"), "--hub-folder", str(tmp_path / "hub"),
        "--hub-listen", f"127.0.0.1:{files}", "--hub-url", f"http://127.0.0.1:{files}",
    ]  # fmt: skip
    log = tmp_path / "both.log"
    with (
        running_mosquitto(broker / "mosquitto.conf", [port], tmp_path / "broker.log"),
        log.open("wb") as output,
        subprocess.Popen(line, stdout=output, stderr=output) as both,
    ):
        try:
            wait_until(lambda: log.read_text().count("connected to mqtts://") == 2, WAIT_S)
            said = (tmp_path / "broker.log").read_text()
            assert "u'hub'" in said
            assert "u'aggregator'" in said
        finally:
            both.send_signal(signal.SIGTERM)
        assert both.wait(WAIT_S) == 0, log.read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "give --hub-folder"),
        (("--hub-folder", "hub", "--hub-listen", "nonsense"), "hub.listen 'nonsense'"),
        (("--hub-folder", "hub", "--hub-config", "no.toml"), "no.toml"),
    ],
)
def test_a_hub_that_cannot_be_is_one_clear_line(
    tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    placed = [str(tmp_path / word) if word in {"hub", "no.toml"} else word for word in options]
    store = ("--store", str(tmp_path / "store"))
    assert_one_line_error(command("aggregate", "start", "--hub", *store, *placed), said)


@needs_mosquitto
def test_a_hub_that_the_broker_refuses_ends_both(tmp_path: Path) -> None:
    port = free_port()
    state = FleetState("home", ("127.0.0.1",), port, broker_folder=str(tmp_path / "fleet/broker"))
    owner = FleetFolder.create(tmp_path / "fleet", state)
    owner.add("hub", "hub")
    hub = tmp_path / "stolen"
    hub.mkdir()
    for name, content in owner.client_files("hub").items():
        (hub / name).write_bytes(content)
    owner.revoke("hub")
    conf = tmp_path / "fleet/broker/mosquitto.conf"
    with running_mosquitto(conf, [port], tmp_path / "broker.log"):
        done = command(
            *("aggregate", "start", "--hub", "--hub-config", hub / "devit.toml"),
            *("--config", tmp_path / "fleet/clients/aggregator/devit.toml"),
            *("--store", tmp_path / "store", "--hub-folder", tmp_path / "hub"),
            *("--hub-listen", "127.0.0.1:0"),
        )
    assert_one_line_error(done, "refuses our certificate")
