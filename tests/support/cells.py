"""Two cells and an upper broker, made by `devit fleet`: real brokers, boards and cameras."""

import os
import re
import signal
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devit_iot.config.config import BrokerConfig, load_config
from devit_iot.demo.processes import free_port
from devit_iot.fleet.cells import CellPlace, create_with_cells
from devit_iot.fleet.folder import FleetFolder, FleetState
from devit_iot.monitor.cells import CellsOverview
from devit_iot.monitor.views import CellView, FleetView
from devit_iot.programs import own_program
from devit_iot.protocol.label import Label
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message, Session
from devit_iot.transport.mqtt import MqttTransport
from tests.e2e.conftest import DEMO
from tests.support.fleets import make_bundle, wait_until
from tests.support.mosquitto import MOSQUITTO, listens

CELLS = ("hall", "yard")
TOPICS = Topics("home")
UPPER = "upper"
WAIT_S = 90.0
_EVERY = """
[[images]]
topic = "cameras/{camera}/image/{request}"
delivery = "every"
"""
_PUBLISHED = re.compile(r"-> cameras/\w+/image/([0-9a-f]{32}) ")


class CellsWorld:
    """A node and an aggregator in each of two cells, and an upper broker.

    Args:
        folder: folder for everything.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "fleet"
        self.ports = {name: free_port() for name in (UPPER, *CELLS)}
        self._bundle = make_bundle(folder / "bundle", parts=1).path
        self._brokers: dict[str, subprocess.Popen[bytes]] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        state = FleetState(
            "home",
            ("localhost",),
            self.ports[UPPER],
            broker_folder=str(self.path / "broker"),
        )
        places = tuple(CellPlace(name, "localhost", self.ports[name]) for name in CELLS)
        create_with_cells(self.path, state, places)
        for name in CELLS:
            FleetFolder(self.cell(name)).add("pi-0", "node", 0)
            for client in ("pi-0", "aggregator"):
                config = self.config(name, client)
                config.write_text(config.read_text() + _EVERY)
        with zipfile.ZipFile(DEMO / "images.zip") as archive:
            archive.extractall(folder / "images")

    def cell(self, name: str) -> Path:
        """A cell's folder."""
        return self.path / "cells" / name

    def config(self, where: str, client: str) -> Path:
        """What one client of a cell, or of the upper broker, was given."""
        folder = self.path if where == UPPER else self.cell(where)
        return folder / "clients" / client / "devit.toml"

    def broker(self, where: str, client: str) -> BrokerConfig:
        """How one client reaches its broker."""
        return load_config([self.config(where, client)], {}).broker

    def bridge_client(self, cell: str) -> BrokerConfig:
        """What somebody has who has the machine of a cell's broker."""
        broker = self.cell(cell) / "broker"
        return BrokerConfig(
            url=f"mqtts://localhost:{self.ports[UPPER]}",
            ca_file=str(broker / "upper-ca.crt"),
            cert_file=str(broker / f"labels-{cell}.crt"),
            key_file=str(broker / f"labels-{cell}.key"),
        )

    def reroute(self, cell: str, port: int) -> None:
        """Let the bridges of a cell that does not run yet go by another port."""
        conf = self.cell(cell) / "broker" / "mosquitto.conf"
        address = f"address localhost:{self.ports[UPPER]}"
        conf.write_text(conf.read_text().replace(address, f"address localhost:{port}"))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run brokers, nodes and aggregators inside the block."""
        try:
            for name in (UPPER, *CELLS):
                self.start_broker(name)
            for cell in CELLS:
                self.start_node(cell)
                self._start_client(f"{cell}-aggregator", cell, "aggregator", "aggregate")
            yield
        finally:
            self._end()

    def start_broker(self, name: str) -> None:
        """Start the broker of a cell or the upper one, again if it was killed."""
        conf = (self.path if name == UPPER else self.cell(name)) / "broker" / "mosquitto.conf"
        if os.geteuid() == 0 and "user root" not in conf.read_text():
            conf.write_text(conf.read_text() + "user root\n")
        with (self.folder / f"{name}.log").open("ab") as log:
            self._brokers[name] = subprocess.Popen([str(MOSQUITTO), "-c", str(conf)], stderr=log)
        wait_until(lambda: listens(self.ports[name]), WAIT_S)

    def signal_broker(self, name: str, number: signal.Signals) -> None:
        """Stop, continue or kill a broker."""
        self._brokers[name].send_signal(number)
        if number == signal.SIGKILL:
            self._brokers.pop(name).wait()

    def start_node(self, cell: str) -> None:
        """Start a cell's node, again if it was killed."""
        self._start_client(f"{cell}-node", cell, "pi-0", "node")

    def kill_node(self, cell: str) -> None:
        """SIGKILL for a cell's node."""
        process = self._processes.pop(f"{cell}-node")
        process.kill()
        process.wait()

    def start_camera(self, config: Path, count: int, rate: float) -> subprocess.Popen[bytes]:
        """`devit camera` of `every`, each image with an id of its own."""
        options = ("--topic", "cameras/door/image/{request}", "--delivery", "every", "--repeat")
        self._start(
            "camera",
            "devit",
            *(
                "camera",
                str(self.folder / "images"),
                *options,
                "--count",
                str(count),
                "--rate",
                str(rate),
            ),
            *("--config", str(config)),
        )
        return self._processes["camera"]

    @property
    def published(self) -> set[str]:
        """Request ids of the camera's images."""
        return {*_PUBLISHED.findall(self.log("camera"))}

    def log(self, name: str) -> str:
        """What a process printed."""
        return (self.folder / f"{name}.log").read_text()

    def _end(self) -> None:
        """End all processes, the brokers last.

        Mosquitto 2.0.11 may end with `double free` when it had bridges that were cut; by then it
        has saved everything. So its exit code counts for nothing here.
        """
        for processes in (self._processes, self._brokers):
            for process in processes.values():
                process.send_signal(signal.SIGCONT)
                process.terminate()
            for process in processes.values():
                process.wait(WAIT_S)

    def _start_client(self, name: str, cell: str, client: str, program: str) -> None:
        bundle = ("--bundle", str(self._bundle))
        self._start(name, program, "start", *bundle, "--config", str(self.config(cell, client)))

    def _start(self, name: str, program: str, *options: str) -> None:
        command = [*own_program(f"devit_iot.cli.{program}"), *options]
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(command, stdout=log, stderr=log)


class Watcher:
    """What a page at the upper broker shows; it reads what the page and `devit top` read.

    Attributes:
        labels: request id of each label that came -> the cells that sent it.
    """

    def __init__(self, broker: BrokerConfig) -> None:
        self.labels: dict[str, set[str]] = {}
        self._overview = CellsOverview("home", time.monotonic())
        self._transport = MqttTransport(broker, client_id="watcher", session=Session(3600, 1000))
        for topic_filter in CellsOverview.filters("home"):
            self._transport.subscribe(topic_filter, self._take, qos=1)

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Look on inside the block."""
        self._transport.start(on_ready=lambda: None, on_refused=lambda _error: None)
        try:
            wait_until(lambda: self._transport.connected, WAIT_S)
            yield
        finally:
            self._transport.stop()

    def is_connected(self) -> bool:
        """Whether the upper broker is there for it."""
        return self._transport.connected

    def view(self) -> FleetView:
        """What is shown now."""
        return self._overview.view(time.monotonic())

    def cell(self, name: str) -> CellView | None:
        """One cell as it is shown now."""
        return next((cell for cell in self.view().cells if cell.name == name), None)

    def is_whole(self) -> bool:
        """Whether both cells are connected, each with its node and its part online."""
        cells = [self.cell(name) for name in CELLS]
        return all(
            cell is not None
            and (cell.state, cell.nodes_online, cell.parts_online) == ("connected", 1, (0,))
            for cell in cells
        )

    def _take(self, message: Message) -> None:
        self._overview.take(message, time.monotonic())
        if "/labels/" in message.topic and message.payload:
            label = Label.decode(message.payload)
            self.labels.setdefault(label.request_id, set()).add(message.topic.split("/")[1])
