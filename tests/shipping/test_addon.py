"""Home Assistant's add-on: its documented keys, and its program beside a stand-in Supervisor."""

import json
import os
import re
import runpy
import signal
import stat
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.shipping.commands import parse
from tests.shipping.manifests import ROOT, Object, load
from tests.support.fleets import wait_until

ADDON = ROOT / "addon"
(CONFIG,) = load(ADDON / "config.yaml")
BROKER = {
    "host": "core-mosquitto",
    "port": 1883,
    "username": "addons",
    "password": "s",
    "ssl": False,
}

TYPES: dict[str, Any] = {
    "name": str, "version": str, "slug": str, "description": str, "arch": list, "init": bool,
    "startup": str, "services": list, "map": list, "ingress": bool, "ingress_port": int,
    "panel_icon": str, "panel_title": str, "watchdog": str, "ports": dict,
    "ports_description": dict, "options": dict, "schema": dict,
}  # fmt: skip
"""Keys that we use, with the types of developers.home-assistant.io/docs/add-ons/configuration."""

REQUIRED = {"name", "version", "slug", "description", "arch"}
VALUES = {
    "startup": re.compile(r"initialize|system|services|application|once"),
    "slug": re.compile(r"[-_.A-Za-z0-9]+"),
    "watchdog": re.compile(r"(https?|tcp)://\[HOST\]:(\d+|\[PORT:\d+\]).*"),
}
ITEMS = {
    "arch": re.compile(r"aarch64|amd64"),
    "services": re.compile(r"(mqtt|mysql):(provide|want|need)"),
    "map": re.compile(
        r"(share|ssl|media|backup|addons|addon_config|homeassistant_config)(:(rw|ro))?"
    ),
}
OPTION = re.compile(
    r"(str|bool|int|float|email|url|password|port)(\(.*\))?\??|match\(.+\)\??|list\(.+\)\??"
)


def wrong(config: Object) -> list[str]:
    """Keys of an add-on's configuration that the documentation does not allow."""
    found = [key for key in REQUIRED if key not in config]
    for key, value in config.items():
        rule, items = VALUES.get(key), ITEMS.get(key)
        if (
            type(value) is not TYPES.get(key)
            or (rule and not rule.fullmatch(value))
            or (items and not all(items.fullmatch(item) for item in value))
        ):
            found.append(key)
    found += [key for key, kind in config["schema"].items() if not OPTION.fullmatch(kind)]
    return found


def test_its_configuration_is_as_documented() -> None:
    assert wrong(CONFIG) == []
    assert CONFIG["ports"].keys() == CONFIG["ports_description"].keys()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("startup", "later"), ("arch", ["armv8"]), ("ingress", "yes"), ("services", ["mqtt"]),
        ("schema", {"fleet": "text"}), ("ingres_port", 8099), ("map", ["share:wr"]),
    ],
)  # fmt: skip
def test_a_wrong_key_is_found(key: str, value: object) -> None:
    assert wrong(CONFIG | {key: value})


def test_options_that_are_set_have_a_type_and_those_that_may_be_missing_say_so() -> None:
    optional = {key for key, kind in CONFIG["schema"].items() if kind.endswith("?")}
    assert CONFIG["schema"].keys() - optional == CONFIG["options"].keys()


def test_its_version_is_the_next_release() -> None:
    scm = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools_scm"]
    assert scm["fallback_version"].startswith(f"{CONFIG['version']}.")


@pytest.fixture
def supervisor() -> Iterator[tuple[str, list[str]]]:
    """A stand-in that knows Mosquitto's add-on; what it was shown as token."""
    tokens: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            tokens.append(self.headers["Authorization"])
            known = self.path == "/services/mqtt" and tokens[-1] == "Bearer secret"
            body = json.dumps({"result": "ok", "data": BROKER}).encode()
            self.send_response(200 if known else 400)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", tokens
    server.shutdown()
    server.server_close()
    thread.join()


PROGRAM = """\
#!/bin/sh
env | grep ^DEVIT_ | sort > "{folder}/$(basename "$0")-$1.txt"
echo "$0" "$@" >> {folder}/started.txt
{then}
"""


def start(tmp_path: Path, address: str, then: str, **options: object) -> subprocess.Popen[str]:
    """The add-on's program, with stand-ins of the programs that it starts."""
    tmp_path.chmod(0o777)
    programs = tmp_path / "programs"
    programs.mkdir(exist_ok=True)
    for name in ("devit", "devit-aggregate"):
        (programs / name).write_text(PROGRAM.format(folder=tmp_path, then=then))
        (programs / name).chmod(0o755)
    (tmp_path / "options.json").write_text(json.dumps(CONFIG["options"] | options))
    return subprocess.Popen(
        [sys.executable, ADDON / "run.py"],
        env=os.environ | {
            "ADDON_OPTIONS": str(tmp_path / "options.json"),
            "ADDON_DATA": str(tmp_path),
            "ADDON_SUPERVISOR": address,
            "SUPERVISOR_TOKEN": "secret",
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def started(tmp_path: Path) -> int:
    file = tmp_path / "started.txt"
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.fixture
def open_tmp(tmp_path: Path) -> Path:
    """A folder that the programs' user may write to, whoever runs the tests."""
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            folder.chmod(0o755)
    return tmp_path


def test_it_takes_the_broker_from_the_supervisor_and_ends_on_sigterm(
    open_tmp: Path, supervisor: tuple[str, list[str]]
) -> None:
    process = start(open_tmp, supervisor[0], "exec sleep 60")
    wait_until(lambda: started(open_tmp) == 2, 60.0)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 0, said
    told = (open_tmp / "devit-aggregate-start.txt").read_text()
    assert "DEVIT_BROKER=mqtt://core-mosquitto:1883\n" in told
    assert "DEVIT_PASSWORD=s\n" in told
    assert "demo/bundle" in told


def test_a_broker_that_is_named_goes_before_the_supervisors(
    open_tmp: Path, supervisor: tuple[str, list[str]]
) -> None:
    process = start(open_tmp, supervisor[0], "exit 3", broker="mqtts://hub.local", hub=True)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "ended with code 3" in said
    assert supervisor[1] == []
    told = (open_tmp / "devit-aggregate-start.txt").read_text()
    assert "DEVIT_BROKER=mqtts://hub.local\n" in told
    assert f"DEVIT_STORE={open_tmp}/devit/aggregate\n" in told


def test_without_any_broker_it_says_what_to_do(open_tmp: Path) -> None:
    process = start(open_tmp, "http://127.0.0.1:9", "exec sleep 60")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.startswith("no broker: install the add-on Mosquitto broker, or set the option")
    assert "Traceback" not in said


def test_its_programs_take_what_they_are_given() -> None:
    lines = runpy.run_path(str(ADDON / "run.py"))["commands"](CONFIG["options"] | {"hub": True})
    assert [line[:2] for line in lines] == [
        ["devit-aggregate", "start"], ["devit", "dashboard"], ["devit", "hub"]
    ]  # fmt: skip
    for line in lines:
        parse(line)
