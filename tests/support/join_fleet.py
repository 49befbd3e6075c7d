"""A fleet with certificates, a hub that lets boards join, and bare boards that paste their line."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import msgspec

from devit_iot.demo.processes import free_port
from devit_iot.hub.commands import Status
from devit_iot.programs import own_program
from tests.support import hub_watcher
from tests.support.fleets import wait_until
from tests.support.mosquitto import MOSQUITTO
from tests.support.wheels import make_wheels

WAIT_S = 300.0


class JoinFleet:
    """Processes of one fleet; its owner uses nothing but commands.

    Args:
        folder: folder of everything.
        host: address of the broker and the hub.
        hosts: what to put before the command of a board, by its name, to run it elsewhere; broker,
            hub and aggregator are ``hub``, and so are the owner's commands.
        limits: lines of the table ``[hub]``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        hosts: Mapping[str, Sequence[str]] | None = None,
        limits: str = "",
    ) -> None:
        self.folder = folder
        self._hosts = hosts or {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = [free_port() for _ in range(3)]
        port, files, join = self._ports
        self.join_url = f"https://{host}:{join}"
        self._limits = limits
        self._said = folder / "status.json"
        broker = self.fleet / "broker"
        owned = ("--host", host, "--port", str(port), "--broker-folder", str(broker))
        self.owner("fleet", "init", self.fleet, *owned)
        self.owner("fleet", "add", "hub", "--role", "hub", "--folder", self.fleet)
        self._hub_options = (
            *("--config", str(self._hub_config()), "--hub-folder", str(folder / "hub")),
            *("--hub-listen", f"{host}:{files}", "--hub-url", f"https://{host}:{files}"),
            *("--hub-join-listen", f"{host}:{join}"),
            *("--hub-cert-file", str(broker / "broker.crt")),
            *("--hub-key-file", str(broker / "broker.key")),
            *("--hub-crl-file", str(broker / "crl.pem")),
        )
        self.hub_url = f"https://{host}:{files}"
        bare = folder / "bin"  # a board has Python, and nothing of this project
        bare.mkdir()
        (bare / "python3").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
        self.path = f"{bare}:/usr/bin:/bin"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in [*(n for n in self._running if n != "broker"), "broker"]:
            if name in self._running:
                self.end(name)

    @property
    def fleet(self) -> Path:
        """The fleet's folder."""
        return self.folder / "fleet"

    @property
    def token_file(self) -> Path:
        """The file with the hub's token."""
        return self.folder / "hub" / "token"

    def owner(self, *words: str | Path) -> str:
        """A ``devit`` command of the owner; what it prints."""
        done = self.owner_tries(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def owner_tries(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """A ``devit`` command of the owner that may fail."""
        command = [*self._wrapper("hub"), *own_program("devit_iot.cli.devit"), *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)

    def add(self, name: str, *options: str, prefix: bool = True) -> str:
        """What ``devit fleet add`` prints for a board."""
        below = ("--prefix", str(self.board(name))) if prefix else ()
        return self.owner("fleet", "add", name, *self._adding(), *below, *options)

    def add_fails(self, name: str, *options: str) -> str:
        """What ``devit fleet add`` says if it cannot."""
        done = self.owner_tries("fleet", "add", name, *self._adding(), *options)
        assert done.returncode == 1, done.stdout
        return done.stderr

    def _adding(self) -> tuple[str, ...]:
        return (
            *("--folder", str(self.fleet), "--hub-join-url", self.join_url),
            *("--token-file", str(self.token_file)),
        )

    def board(self, name: str) -> Path:
        """The folder that a board's line fills."""
        return self.folder / "boards" / name

    def add_wheels(self, folder: Path) -> None:
        """Give the hub the wheels of this checkout and of what it needs."""
        make_wheels(folder)
        config = self.fleet / "clients" / "viewer" / "devit.toml"
        self.owner(
            *("hub", "wheels", "add", folder, "--config", config),
            *("--hub-join-url", self.join_url, "--token-file", self.token_file),
        )

    def start(self, name: str) -> None:
        """Start ``broker``, ``hub`` or ``aggregator``."""
        match name:
            case "broker":
                conf = self.fleet / "broker" / "mosquitto.conf"
                if os.geteuid() == 0 and "user root" not in conf.read_text():
                    conf.write_text(conf.read_text() + "user root\n")  # its files are root's
                self._start(name, "hub", [str(MOSQUITTO), "-c", str(conf)])
            case "hub":
                line = [*own_program("devit_iot.cli.devit"), "hub", *self._hub_options]
                self._start(name, "hub", line)
                if not self.runs("watcher"):
                    self._watch()
                wait_until(lambda: self.status is not None, WAIT_S)
            case "aggregator":
                config = self.fleet / "clients" / "aggregator" / "devit.toml"
                store = ("--store", str(self.folder / "aggregator"))
                line = [*own_program("devit_iot.cli.aggregate"), "start", "--config", str(config)]
                self._start(name, "hub", [*line, *store])

    def paste(self, name: str, line: str, *, log: str = "") -> subprocess.Popen[bytes]:
        """Paste a line into a shell of a board."""
        environment = {"PATH": self.path, "HOME": str(self.folder)}
        return self._start(log or name, name, ["sh", "-c", line], environment)

    def start_again(self, name: str) -> subprocess.Popen[bytes]:
        """Start the node of a board that has joined, as its service manager would."""
        board = self.board(name)
        program = [str(board / "software/bin/devit-node"), "start"]
        options = ["--config", str(board / "fleet/devit.toml"), "--store", str(board / "store")]
        return self._start(name, name, [*program, *options], {"PATH": self.path})

    def _watch(self) -> None:
        wait_until(self.token_file.exists, WAIT_S)
        config = self.fleet / "clients" / "viewer" / "devit.toml"
        files = (config, self.hub_url, self.token_file, self._said)
        self._start("watcher", "hub", [sys.executable, hub_watcher.__file__, *map(str, files)])

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        """End a process; SIGKILL is a power cut."""
        process = self._running.pop(name)
        if process.poll() is None:
            os.killpg(process.pid, number)  # the shell of a line, and what it became
            process.wait(WAIT_S)

    def runs(self, name: str) -> bool:
        """Whether a process that was started runs."""
        return name in self._running and self._running[name].poll() is None

    def push(self, bundle: Path) -> str:
        """``devit fleet push``, without waiting for its end."""
        config = self.fleet / "clients" / "viewer" / "devit.toml"
        return self.owner(
            *("fleet", "push", bundle, "--no-wait", "--config", config, "--folder", self.fleet),
            *("--hub-url", self.hub_url, "--token-file", self.token_file),
        )

    @property
    def status(self) -> Status | None:
        """What the hub says; None while it is away."""
        said = self._said.read_bytes() if self._said.exists() else b""
        return msgspec.json.decode(said, type=Status) if said else None

    @property
    def serving(self) -> dict[int, str]:
        """Part -> board, of the boards that are there and serve."""
        now = self.status
        return {
            view.part: name
            for name, view in (now.nodes.items() if now is not None else ())
            if view.part is not None
            and view.online
            and view.update is not None
            and view.update.serving
        }

    def log(self, name: str) -> str:
        """What a process printed."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _hub_config(self) -> Path:
        path = self.fleet / "clients" / "hub" / "devit.toml"
        path.write_text(f"{path.read_text()}\n[hub]\n{self._limits}\n")
        return path

    def _wrapper(self, host: str) -> list[str]:
        return list(self._hosts.get(host, ()))

    def _start(
        self, name: str, host: str, command: list[str], environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*self._wrapper(host), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                process_group=0,
            )
        self._running[name] = process
        return process
