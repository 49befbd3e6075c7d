"""A real Home Assistant core: installed under ``build/homeassistant``, run without a person.

It needs a newer Python than this project, so a Debian root file system gives one; its dynamic
loader starts it in place, without chroot and without being root, so pip's settings, certificates
and name servers are those of this machine.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.parse
from pathlib import Path
from typing import Any, Self

from websockets.sync.client import connect

from devit_iot.demo.processes import free_port
from tests.support.fleets import wait_until

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "homeassistant"
VERSION = "2026.2.3"  # the last one for Debian trixie's Python
SUITE, PYTHON = "trixie", "python3.13"
INTEGRATIONS = ("mqtt", "frontend")
START_S = 300.0

CONFIGURATION = """\
homeassistant:
  name: Test
http:
  server_host: 127.0.0.1
  server_port: {port}
logger:
  default: warning
  logs:
    homeassistant.components.mqtt: info
"""
CLIENT = "http://localhost/"
PERSON = {"name": "Test", "username": "test", "password": "a test's", "language": "en"}


def _run(*command: str | Path, **env: str) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-8000:]}"


def _rootfs() -> Path:
    """Debian's Python, with what compiles the one package that has no wheel for it."""
    path = BUILD / f"{SUITE}-rootfs"
    if not path.exists():
        partial = path.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        BUILD.mkdir(parents=True, exist_ok=True)
        packages = f"{PYTHON},lib{PYTHON}-dev,python3-pip,libstdc++6,libgcc-s1,libc-bin"
        _run("mmdebstrap", "--quiet", "--variant=extract", f"--include={packages}", SUITE, partial)
        partial.rename(path)
    return path


def _loader(rootfs: Path) -> tuple[Path, Path]:
    """The dynamic loader, and the folder of this machine's libraries, where it really is."""
    (loader,) = (rootfs / "usr").glob("lib*/ld-linux-*.so.*")
    return loader, loader.resolve().parent


def _python(rootfs: Path) -> Path:
    """A program that is the root file system's Python, with Home Assistant installed."""
    python = BUILD / "python"
    loader, libraries = _loader(rootfs)
    python.write_text(
        "#!/bin/sh\n"
        f"export PYTHONHOME={rootfs / 'usr'} PYTHONPATH={BUILD / 'site'}\n"
        f'exec {loader} --argv0 "$0" --library-path {libraries} '
        f'{rootfs / "usr" / "bin" / PYTHON} "$@"\n'
    )
    python.chmod(0o755)
    return python


def _requirements(components: Path) -> list[str]:
    """What the integrations need, with those that they depend on."""
    needed: set[str] = set()
    todo, seen = list(INTEGRATIONS), set[str]()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            manifest = json.loads((components / name / "manifest.json").read_text())
            needed.update(manifest.get("requirements", ()))
            todo += manifest.get("dependencies", ())
    return sorted(needed)


def install() -> Path:
    """Install the core, once; return its Python."""
    rootfs = _rootfs()
    python = _python(rootfs)
    done = BUILD / f"installed-{VERSION}"
    if not done.exists():
        site = BUILD / "site"
        shutil.rmtree(site, ignore_errors=True)
        include = rootfs / "usr" / "include"
        headers = f"{include / _loader(rootfs)[1].name}:{include}"
        pip = (python, "-m", "pip", "install", "--quiet", "--target", site)
        package = f"homeassistant=={VERSION}"
        _run(*pip, "--no-deps", package)
        core = site / "homeassistant"
        _run(
            *pip, "--upgrade", "--prefer-binary", "-c", core / "package_constraints.txt",
            package, *_requirements(core / "components"),
            CPATH=headers,
        )  # fmt: skip
        done.touch()
    return python


class Core:
    """A running core with one user and its MQTT integration connected.

    Args:
        folder: its configuration.
        broker_port: port of the MQTT broker on this machine.
    """

    def __init__(self, folder: Path, broker_port: int) -> None:
        self._folder = folder
        self._broker_port = broker_port
        self._port = free_port()
        self._token = ""
        folder.mkdir()
        (folder / "configuration.yaml").write_text(CONFIGURATION.format(port=self._port))

    def __enter__(self) -> Self:
        python = install()
        with (self._folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [python, "-m", "homeassistant", "-c", self._folder, "--skip-pip"],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
            )
        try:
            wait_until(self._answers, START_S)
            self._log_in()
            self._add_broker()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def log(self) -> str:
        """What it printed so far."""
        return (self._folder / "output").read_text(errors="replace")

    def states(self) -> dict[str, dict[str, Any]]:
        """Its entities over REST: id -> state and attributes."""
        return {entity["entity_id"]: entity for entity in self._request("GET", "/api/states")}

    def state(self, entity: str) -> str | None:
        """The state of one entity; None if there is no such."""
        found = self.states().get(entity)
        return None if found is None else str(found["state"])

    def unique_ids(self) -> dict[str, str]:
        """The unique ids of its MQTT entities over WebSocket -> their entity ids."""
        entries = self._command("config/entity_registry/list")
        return {e["unique_id"]: e["entity_id"] for e in entries if e["platform"] == "mqtt"}

    def devices(self) -> dict[str, dict[str, Any]]:
        """Its MQTT devices over WebSocket, by our ids."""
        return {
            identifier: device
            for device in self._command("config/device_registry/list")
            for domain, identifier in device["identifiers"]
            if domain == "mqtt"
        }

    def _answers(self) -> bool:
        assert self._process.poll() is None, self.log()
        try:
            self._request("GET", "/api/onboarding")
        except OSError:  # it does not listen yet
            time.sleep(0.5)
            return False
        return True

    def _log_in(self) -> None:
        code = self._request("POST", "/api/onboarding/users", PERSON | {"client_id": CLIENT})
        form = {"grant_type": "authorization_code", "client_id": CLIENT, "code": code["auth_code"]}
        answer = self._request("POST", "/auth/token", urllib.parse.urlencode(form))
        self._token = answer["access_token"]

    def _add_broker(self) -> None:
        """As a person does it in the settings."""
        flows = "/api/config/config_entries/flow"
        flow = self._request("POST", flows, {"handler": "mqtt"})
        broker = {"broker": "127.0.0.1", "port": self._broker_port}
        made = self._request("POST", f"{flows}/{flow['flow_id']}", broker)
        assert made["type"] == "create_entry", made

    def _request(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401
        """Ask over REST; a text is sent as a form, anything else as JSON."""
        form = isinstance(body, str)
        headers = {"Content-Type": f"application/{'x-www-form-urlencoded' if form else 'json'}"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        link = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        with contextlib.closing(link):
            link.request(method, path, body if isinstance(body, str) else json.dumps(body), headers)
            answer = link.getresponse()
            content = answer.read()
        assert answer.status < 300, f"{method} {path}: {answer.status} {content!r}"
        return json.loads(content)

    def _command(self, kind: str) -> list[dict[str, Any]]:
        """Ask over WebSocket."""
        with connect(f"ws://127.0.0.1:{self._port}/api/websocket", max_size=None) as socket:
            socket.recv(60)
            socket.send(json.dumps({"type": "auth", "access_token": self._token}))
            assert json.loads(socket.recv(60))["type"] == "auth_ok"
            socket.send(json.dumps({"id": 1, "type": kind}))
            answer = json.loads(socket.recv(60))
        assert answer["success"], answer
        result: list[dict[str, Any]] = answer["result"]
        return result
