"""A fleet with certificates and a hub: bare nodes join, and a stolen certificate pushes nothing."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from devit_iot.config.config import load_config
from devit_iot.demo.processes import free_port
from devit_iot.errors import DevitError
from devit_iot.fleet.access import Role
from devit_iot.fleet.folder import FleetFolder, FleetState
from devit_iot.hub.client import HubClient
from devit_iot.hub.commands import Status
from devit_iot.programs import own_program
from devit_iot.protocol.topics import Topics
from devit_iot.transport.tls import client_context
from tests.support.fleets import make_bundle, wait_until
from tests.support.mosquitto import Client, needs_mosquitto, running_mosquitto
from tests.support.releases import release_of

NODES = ("pi-0", "pi-1")
TOPICS = Topics("home")
WAIT_S = 60.0


class SecureFleet:
    """Made by `devit fleet`, with a client of its own for each process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.hub_port = free_port()
        state = FleetState(
            "home", ("127.0.0.1",), self.port, broker_folder=str(folder / "fleet/broker")
        )
        owner = FleetFolder.create(folder / "fleet", state)
        clients: list[tuple[str, Role]] = [("hub", "hub"), *((name, "node") for name in NODES)]
        for name, role in clients:
            owner.add(name, role, 0 if role == "node" else None)

    def config(self, name: str) -> Path:
        """What one client was given."""
        return self.folder / "fleet/clients" / name / "devit.toml"

    @property
    def client(self) -> HubClient:
        """A client of the hub that has a certificate and the token."""
        token = (self.folder / "hub/token").read_text().strip()
        broker = load_config([self.config("viewer")], {}).broker
        return HubClient(f"https://127.0.0.1:{self.hub_port}", token, client_context(broker))

    def status(self) -> Status | None:
        """The hub's, if it is there."""
        try:
            return self.client.status()
        except (DevitError, OSError):
            return None

    def serving(self) -> set[int]:
        """The releases that the nodes serve."""
        now = self.status()
        views = [now.nodes.get(name) for name in NODES] if now is not None else []
        return {v.update.serving if v is not None and v.update is not None else 0 for v in views}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run broker, hub, aggregator and nodes inside the block."""
        broker = self.folder / "fleet/broker"
        address = f"127.0.0.1:{self.hub_port}"
        options = {
            "--hub-folder": self.folder / "hub",
            "--hub-listen": address,
            "--hub-url": f"https://{address}",
            "--hub-cert-file": broker / "broker.crt",
            "--hub-key-file": broker / "broker.key",
            "--hub-crl-file": broker / "crl.pem",
        }
        hub = [str(word) for option in options.items() for word in option]
        with ExitStack() as stack:
            log = self.folder / "broker.log"
            stack.enter_context(running_mosquitto(broker / "mosquitto.conf", [self.port], log))
            stack.enter_context(self._process("hub", "devit", "hub", hub))
            stack.enter_context(self._member("aggregator", "aggregate"))
            for name in NODES:
                stack.enter_context(self._member(name, "node"))
            yield

    def log(self, name: str) -> str:
        """What a process printed."""
        return (self.folder / f"{name}.log").read_text()

    @contextmanager
    def _member(self, name: str, program: str) -> Iterator[None]:
        store = ("--store", str(self.folder / "stores" / name))
        with self._process(name, program, "start", store):
            yield

    @contextmanager
    def _process(
        self, name: str, program: str, command: str, options: Sequence[str]
    ) -> Iterator[None]:
        line = [*own_program(f"devit_iot.cli.{program}"), command]
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*line, "--config", str(self.config(name)), *options], stdout=log, stderr=log
            )
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(WAIT_S) == 0, self.log(name)


@needs_mosquitto
def test_certificates_are_all_that_a_node_needs(tmp_path: Path) -> None:
    fleet = SecureFleet(tmp_path)
    first, second = (make_bundle(tmp_path / str(seed), parts=2, seed=seed) for seed in (0, 1))
    with fleet.running():
        wait_until(lambda: (now := fleet.status()) and set(NODES) <= now.nodes.keys(), WAIT_S)
        number = fleet.client.push(first, "").number
        wait_until(lambda: fleet.serving() == {number}, WAIT_S)

        stolen = load_config([fleet.config("pi-1")], {}).broker
        now = fleet.status()
        assert now is not None
        forged = msgspec.structs.replace(
            now.rollout, current=release_of(second, 99, {"pi-0": 0, "pi-1": 1}), next=None
        )
        # With the certificate of a node: the broker throws the node itself out, and lets it back.
        with Client(stolen, client_id="pi-1") as intruder:
            intruder.publish(TOPICS.release, forged.encode(), retain=True)
            wait_until(lambda: intruder.transport.refused or intruder.transport.problem, WAIT_S)
        wait_until(lambda: fleet.serving() == {number}, WAIT_S)
    for name in (*NODES, "aggregator"):
        assert second.manifest.fingerprint not in fleet.log(name)
