"""The program that a bare board runs to join: it comes from the hub, by the line of its owner.

Nothing but Python's own library is imported, and nothing of devit-iot, which is not installed yet.
The line calls :func:`main` after it has checked who the hub is. Every step may be cut off and begun
again: the same line, pasted again, goes on.
"""

import base64
import hashlib
import http.client
import json
import os
import platform
import re
import secrets
import shutil
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

NO_HEADERS: Mapping[str, str] = {}

_NODE = "devit_iot.build_managed"
"""The module that loads all that a node with a hub needs."""

_TIMEOUT_S = 120.0
_PYTHON = (3, 11)
_UNITS = "/etc/systemd/system"
_BOARDS = {
    "Raspberry Pi 5": "pi5",
    "Raspberry Pi Compute Module 5": "pi5",
    "Raspberry Pi 4": "pi4b",
    "Raspberry Pi Compute Module 4": "pi4b",
    "Raspberry Pi 3 Model B Plus": "pi3bplus",
    "Raspberry Pi Zero 2": "zero2w",
    "NVIDIA Jetson Orin Nano": "jetson-orin-nano",
}
"""What the device tree says of a board -> the board's file in firmware_configs."""


class BoardError(Exception):
    """What a person reads, in one line."""


class Places(NamedTuple):
    """Where things lie on the board.

    Attributes:
        software: virtual environment of the software.
        fleet: certificate, key and configuration; open to root, or to who joined, only.
        store: bundles; only of a node in the foreground, systemd gives a service its own.
        root: root of the file system.
    """

    software: Path
    fleet: Path
    store: Path
    root: Path

    @classmethod
    def of_service(cls, root: Path = Path("/")) -> "Places":
        """The places that the systemd units name."""
        return cls(root / "opt/devit", root / "etc/devit/fleet", root / "var/lib/devit-node", root)

    @classmethod
    def below(cls, prefix: Path) -> "Places":
        """The places of a node that needs neither root nor systemd."""
        return cls(prefix / "software", prefix / "fleet", prefix / "store", Path("/"))


class Hub:
    """The hub, whose certificate is of the fleet's authority or nothing is sent to it.

    Args:
        url: address of the hub.
        authority: certificate of the fleet's authority, PEM.
    """

    def __init__(self, url: str, authority: str) -> None:
        self.url = url
        context = ssl.create_default_context(cadata=authority)
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )

    def get(self, path: str) -> bytes:
        """A file of the hub."""
        return self._read(path)

    def post(self, path: str, token: str, board: str) -> dict[str, Any]:
        """Say who this is, and get an answer."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return dict(json.loads(self._read(path, json.dumps({"board": board}).encode(), headers)))

    @contextmanager
    def opened(
        self, path: str, said: bytes | None = None, headers: Mapping[str, str] = NO_HEADERS
    ) -> Iterator[Any]:
        """The hub's answer, to be read inside the block."""
        request = urllib.request.Request(self.url + path, said, dict(headers))  # noqa: S310 - https
        try:
            answer = self._opener.open(request, timeout=_TIMEOUT_S)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace").strip()
            raise BoardError(text or f"the hub answers {error.code} to {path}") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise BoardError(f"the hub {self.url} cannot be reached: {reason}") from error
        with answer:
            yield answer

    def _read(
        self, path: str, said: bytes | None = None, headers: Mapping[str, str] = NO_HEADERS
    ) -> bytes:
        try:
            with self.opened(path, said, headers) as answer:
                return bytes(answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise BoardError(f"the hub was cut off while it sent {path}: {error}") from error


def main(authority: bytes, arguments: list[str]) -> None:
    """Join, and start the node.

    Args:
        authority: certificate of the fleet's authority, DER, which the line has checked.
        arguments: address of the hub, fingerprint, name, token; a folder after these is where
            everything is put, and the node runs in the foreground.
    """
    sys.excepthook = sys.__excepthook__  # the line's own hook hides where an error is
    url, _, name, token, *prefix = arguments
    try:
        hub = Hub(url, ssl.DER_cert_to_PEM_cert(authority))
        if prefix:
            run_in_foreground(hub, name, token, Places.below(Path(prefix[0]).resolve()))
        else:
            run_as_service(hub, name, token, Places.of_service())
    except (BoardError, OSError) as error:
        sys.exit(f"Error: {error}")


def run_in_foreground(hub: Hub, name: str, token: str, places: Places) -> None:
    """Join, and become the node."""
    join(hub, name, token, places)
    places.store.mkdir(parents=True, exist_ok=True)
    program = str(places.software / "bin/devit-node")
    board = board_of(places.root)
    command = [program, "start", "--config", str(places.fleet / "devit.toml")]
    command += ["--store", str(places.store), *(["--board", board] if board else [])]
    os.execv(program, command)  # noqa: S606 - the node takes the place of this program


def run_as_service(hub: Hub, name: str, token: str, places: Places) -> None:
    """Join, and let systemd run the node."""
    if os.geteuid() != 0:
        raise BoardError("a service is installed by root: paste the line with `sudo` in it")
    if shutil.which("systemctl") is None:
        raise BoardError(
            "this board has no systemd: `devit fleet add NAME --prefix FOLDER` prints a line that "
            "needs none"
        )
    join(hub, name, token, places)
    (shipped,) = places.software.glob("lib/python3*/site-packages/devit_iot/boards")
    units = places.root / _UNITS.lstrip("/")
    drop_ins = units / "devit-node.service.d"
    drop_ins.mkdir(parents=True, exist_ok=True)
    shutil.copy(shipped / "devit-node.service", units)
    for drop_in in ("fleet.conf", "store.conf"):
        shutil.copy(shipped / drop_in, drop_ins)
    environment = places.fleet.parent / "node.env"
    if not environment.exists():
        board = board_of(places.root)
        write_private(environment, f"DEVIT_BOARD={board}\n".encode() if board else b"")
    for command in (["daemon-reload"], ["enable", "devit-node"], ["restart", "devit-node"]):
        _run(["systemctl", *command], "systemd refuses")
    say(f"{name} has joined and runs: journalctl -u devit-node -f")


def join(hub: Hub, name: str, token: str, places: Places) -> None:
    """Install the software and put this board's files in place.

    The token is used up last, when nothing else can fail.
    """
    if sys.version_info < _PYTHON:
        raise BoardError(
            f"devit-iot needs Python 3.11 or later, this is {platform.python_version()}"
        )
    places.fleet.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = places.fleet / "joined.json"
    try:
        state = dict(json.loads(kept.read_bytes()))
    except (OSError, ValueError):
        state = {"board": secrets.token_hex(16), "token": ""}
        write_private(kept, json.dumps(state).encode())
    board, of_token = state["board"], hashlib.sha256(token.encode()).hexdigest()
    offer = hub.post(f"/join/{name}/ask", token, board)
    install(hub, str(offer["requirement"]), places)
    if state["token"] != of_token:
        files = hub.post(f"/join/{name}/take", token, board)["files"]
        for file, content in files.items():
            if not file or Path(file).name != file:
                raise BoardError(f"the hub sends a file with the name '{file}'")
            write_private(places.fleet / file, base64.b64decode(content))
        write_private(kept, json.dumps({"board": board, "token": of_token}).encode())
    hub.post(f"/join/{name}/end", token, board)


def install(hub: Hub, requirement: str, places: Places) -> None:
    """Install ``requirement`` with the hub's wheels and no others, and see that it can be loaded.

    Loading it as root leaves what Python compiled of it, and of nothing else: a fifth of the disk
    that all modules would take, and the service may not write there.
    """
    page = hub.get("/wheels/").decode()
    pips = re.findall(r'href="/wheels/(pip-[^"#]+\.whl)', page)
    if not pips:
        raise BoardError("the hub has no wheel of pip: `devit hub wheels add` gives it one")
    say(f"installing {requirement} in {places.software}")
    python = places.software / "bin/python"
    if not python.exists():
        venv.create(places.software, symlinks=True)
    pip = places.software / pips[-1]
    pip.write_bytes(hub.get(f"/wheels/{pips[-1]}"))
    environment = {**os.environ, "PIP_CONFIG_FILE": os.devnull, "no_proxy": "*"}
    with relay(hub) as address:
        command = [
            *(str(python), str(pip / "pip"), "--isolated", "--disable-pip-version-check"),
            *("install", "--quiet", "--no-input", "--no-cache-dir", "--no-compile"),
            *("--only-binary", ":all:"),
            *("--timeout", str(_TIMEOUT_S)),
            *("--no-index", "--find-links", f"{address}/wheels/", "--upgrade", requirement),
        ]
        done = _output(command, environment)
    pip.unlink()
    if done.returncode:
        raise BoardError(_why(done.stderr))
    done = _output([str(python), "-I", "-c", f"import {_NODE}"], environment)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        raise BoardError(f"the software does not start on this board: {last}")


@contextmanager
def relay(hub: Hub) -> Iterator[str]:
    """Give out the hub's wheels on the loopback interface, inside the block; yield the address.

    Which authorities pip believes depends on its version and on the board; here the hub alone
    counts.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                with hub.opened(self.path) as answer:
                    self.send_response(200)
                    for name in ("Content-Type", "Content-Length"):
                        self.send_header(name, answer.headers.get(name, ""))
                    self.end_headers()
                    shutil.copyfileobj(answer, self.wfile)
            except BoardError as error:
                self.send_error(502, str(error))
            except (OSError, http.client.HTTPException):  # pip sees that it was cut, and asks again
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def board_of(root: Path) -> str:
    """Name of the board's file in firmware_configs; empty if it is none that is known."""
    try:
        model = (root / "proc/device-tree/model").read_text(errors="replace")
    except OSError:
        return ""
    return next((board for begin, board in _BOARDS.items() if model.startswith(begin)), "")


def write_private(path: Path, content: bytes) -> None:
    """Replace a file by one that only its owner reads, at once and for good."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def say(text: str) -> None:
    """Tell who watches what is going on."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - a program of its own


def _why(said: str) -> str:
    """What pip said, in one line."""
    if missing := re.findall(r"No matching distribution found for (\S+)", said):
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return (
            f"the hub has no wheel of {missing[-1]} for CPython {version} on "
            f"{platform.machine()}: `devit hub wheels add` gives it one"
        )
    lines = [line for line in said.splitlines() if line.strip()] or ["it does not say why"]
    return f"pip cannot install it: {lines[-1].removeprefix('ERROR: ')}"


def _run(command: list[str], problem: str) -> None:
    done = _output(command, os.environ)
    if done.returncode:
        raise BoardError(f"{problem}: {' '.join((done.stderr or done.stdout).split())}")


def _output(
    command: list[str], environment: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - commands of this program
        command, env=dict(environment), capture_output=True, text=True, check=False
    )
