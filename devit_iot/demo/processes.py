"""A fleet of real processes on this machine: broker, nodes, aggregator. For demo and tests."""

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

from devit_iot.errors import BrokerError, DevitError
from devit_iot.programs import own_program

HOST = "127.0.0.1"
_STOP_S = 5.0
_BROKER_START_S = 20.0

BrokerKind = Literal["mosquitto", "amqtt"]


class FleetProcesses:
    """Starts the processes of one fleet, and ends them all on leaving the ``with`` block.

    Args:
        folder: folder for logs and the broker's configuration.
        bundle: the fleet bundle.
        fleet: the fleet's name.
        host: the address on which the broker listens.
        wrappers: what to put before a process's command, by its name, to run it elsewhere.
    """

    def __init__(
        self,
        folder: Path,
        *,
        bundle: Path,
        fleet: str,
        host: str = HOST,
        wrappers: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.port = free_port()
        self.websocket_port = free_port()
        self._host = host
        self._wrappers = wrappers or {}
        self._folder = folder
        self._bundle = bundle
        self._fleet = fleet
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        broker = self._running.pop("broker", None)
        _end(list(self._running.values()))  # while there is a broker to say goodbye to
        if broker is not None:
            _end([broker])

    @property
    def url(self) -> str:
        """The URL of the broker."""
        return f"mqtt://{self._host}:{self.port}"

    @property
    def websocket_url(self) -> str:
        """The broker's URL for browsers, if it was started with ``websocket``."""
        return f"ws://{self._host}:{self.websocket_port}/mqtt"

    def start_broker(self, kind: BrokerKind, *settings: str, websocket: bool = False) -> None:
        """Start a broker on a free port and wait until it listens.

        Args:
            kind: name of the broker to start.
            settings: more lines of mosquitto's configuration.
            websocket: whether browsers shall reach it too.

        Raises:
            BrokerError: it ended, or does not listen in time.
        """
        if kind == "mosquitto":
            config = self._folder / "mosquitto.conf"
            lines = (
                f"listener {self.port} {self._host}",
                "allow_anonymous true",
                "set_tcp_nodelay true",
                *settings,
                *[f"listener {self.websocket_port} {self._host}"] * websocket,
                *["protocol websockets"] * websocket,
            )
            config.write_text("\n".join(lines) + "\n")
            self._start("broker", ["mosquitto", "-c", str(config)])
        else:
            browsers = ["--websocket-port", str(self.websocket_port)] * websocket
            command = [*_command("devit"), "broker", "--port", str(self.port), *browsers]
            self._start("broker", command)
        deadline = time.monotonic() + _BROKER_START_S
        for port in [self.port, *[self.websocket_port] * websocket]:
            while not _listens(self._host, port):
                self.check()
                if time.monotonic() > deadline:
                    raise BrokerError(f"the broker does not listen on {self._host}:{port}")
                time.sleep(0.05)

    def start_node(self, part: int, *options: str, python: str = sys.executable) -> None:
        """Start the node of one part, in another ``python`` if wanted."""
        base = ["--part", str(part), "--name", f"node-{part}", "--threads", "1", *options]
        self._start(f"node-{part}", [*_command("node", python), "start", *self._common(), *base])

    def start_aggregator(self, *options: str, python: str = sys.executable) -> None:
        """Start the aggregator, in another ``python`` if wanted."""
        self._start(
            "aggregator", [*_command("aggregate", python), "start", *self._common(), *options]
        )

    def kill(self, name: str) -> None:
        """SIGKILL, as a power cut would."""
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def terminate(self, name: str) -> int:
        """SIGTERM; return the exit code."""
        process = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(_STOP_S)

    def log(self, name: str) -> str:
        """What a process printed so far."""
        path = self._folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def check(self) -> None:
        """Raise DevitError if a process ended that should run."""
        for name, process in self._running.items():
            if process.poll() is not None:
                last = self.log(name).strip().splitlines()[-1:] or ["(no output)"]
                raise DevitError(f"{name} ended with code {process.returncode}: {last[0]}")

    def _common(self) -> list[str]:
        # The port of a DEVIT_METRICS, which our images have, is for one service alone.
        own = ["--broker", self.url, "--fleet", self._fleet, "--metrics", ""]
        return [*own, "--bundle", str(self._bundle)]

    def _start(self, name: str, command: Sequence[str]) -> None:
        wrapped = [*self._wrappers.get(name, ()), *command]
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(  # noqa: S603 - our own commands
                wrapped, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _STOP_S
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def find_broker() -> BrokerKind:
    """``mosquitto`` if it is on PATH, else the embedded one."""
    return "mosquitto" if shutil.which("mosquitto") else "amqtt"


def free_port() -> int:
    """A TCP port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _command(name: str, python: str = sys.executable) -> list[str]:
    return own_program(f"devit_iot.cli.{name}", python)


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), 0.5):
            return True
    except OSError:
        return False
