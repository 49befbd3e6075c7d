"""A fleet of real processes with certificates, as `devit fleet` makes it, and a hub."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from devit_iot.bundle.reading import Bundle
from devit_iot.cli.fleet_keys import sign_for
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
from tests.support.fleets import wait_until
from tests.support.mosquitto import running_mosquitto

NODES = ("pi-0", "pi-1")
TOPICS = Topics("home")
WAIT_S = 60.0


class SecureFleet:
    """Made by `devit fleet`, with a client of its own for each process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "fleet"
        self.port = free_port()
        self.hub_port = free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        state = FleetState(
            "home", ("127.0.0.1",), self.port, broker_folder=str(self.path / "broker")
        )
        owner = FleetFolder.create(self.path, state)
        clients: list[tuple[str, Role]] = [("hub", "hub"), *((name, "node") for name in NODES)]
        for name, role in clients:
            owner.add(name, role)

    def config(self, name: str) -> Path:
        """What one client was given."""
        return self.path / "clients" / name / "devit.toml"

    @property
    def client(self) -> HubClient:
        """A client of the hub that has a certificate and the token."""
        token = (self.folder / "hub/token").read_text().strip()
        broker = load_config([self.config("viewer")], {}).broker
        return HubClient(f"https://127.0.0.1:{self.hub_port}", token, client_context(broker))

    def push(self, bundle: Bundle) -> int:
        """What `devit fleet push` does; the number of the release."""
        sign_for(self.client, self.path, [bundle])
        return self.client.push(bundle, "").number

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

    def wait_there(self) -> None:
        """Wait until the hub knows all nodes."""
        wait_until(lambda: (now := self.status()) and set(NODES) <= now.nodes.keys(), WAIT_S)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run broker, hub, aggregator and nodes inside the block."""
        broker = self.path / "broker"
        with ExitStack() as stack:
            log = self.folder / "broker.log"
            stack.enter_context(running_mosquitto(broker / "mosquitto.conf", [self.port], log))
            stack.callback(self.stop)
            for name in ("hub", "aggregator", *NODES):
                self.start(name)
            yield

    def start(self, name: str) -> None:
        """Start one process."""
        if name == "hub":
            broker, address = self.path / "broker", f"127.0.0.1:{self.hub_port}"
            options = {
                "--hub-folder": self.folder / "hub",
                "--hub-listen": address,
                "--hub-url": f"https://{address}",
                "--hub-cert-file": broker / "broker.crt",
                "--hub-key-file": broker / "broker.key",
                "--hub-crl-file": broker / "crl.pem",
            }
            self._start(name, "devit", "hub", [str(w) for o in options.items() for w in o])
            return
        program = "aggregate" if name == "aggregator" else "node"
        self._start(name, program, "start", ["--store", str(self.folder / "stores" / name)])

    def stop(self, *names: str) -> None:
        """End processes, or all of them."""
        for name in names or tuple(self._processes):
            process = self._processes.pop(name)
            process.terminate()
            assert process.wait(WAIT_S) == 0, self.log(name)

    def log(self, name: str) -> str:
        """What a process printed."""
        return (self.folder / f"{name}.log").read_text()

    def _start(self, name: str, program: str, command: str, options: Sequence[str]) -> None:
        line = [*own_program(f"devit_iot.cli.{program}"), command]
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [*line, "--config", str(self.config(name)), *options], stdout=log, stderr=log
            )
