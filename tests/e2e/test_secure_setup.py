"""broker/README.md's secure set-up, pasted as it stands: two nodes, and a label over TLS."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devit_iot.config.config import load_config
from devit_iot.demo.processes import free_port
from devit_iot.programs import own_program
from devit_iot.protocol.label import Label
from devit_iot.protocol.topics import Topics
from tests.support.fleets import wait_until
from tests.support.mosquitto import MOSQUITTO, WAIT_S, Client, listens, needs_mosquitto

ROOT = Path(__file__).parents[2]
PROGRAMS = {"devit": "devit", "devit-node": "node", "devit-aggregate": "aggregate"}
START_S = 60.0


def block() -> str:
    """The first block of commands in the section."""
    text = (ROOT / "broker" / "README.md").read_text()
    (section,) = re.findall(r"^## Secure set-up\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    return str(re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)[0])


def put(path: Path, *lines: str) -> None:
    path.write_text("\n".join(("#!/bin/sh", *lines)) + "\n")
    path.chmod(0o755)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A folder of a machine with devit-iot installed, in which somebody pasted the block."""
    port = free_port()
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, module in PROGRAMS.items():
        put(programs / name, f'exec {shlex.join(own_program(f"devit_iot.cli.{module}"))} "$@"')
    as_root = ['echo "user root" >> "$2"'] if os.geteuid() == 0 else []  # the files are root's
    put(programs / "mosquitto", *as_root, f'exec {shlex.quote(str(MOSQUITTO))} "$@"')
    text = block()
    for pasted, here in (
        ("--host localhost", f"--host localhost --port {port}"),
        ("--count 20", ""),
    ):
        assert pasted in text
        text = text.replace(pasted, here)
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join([str(ROOT), *filter(None, sys.path)]),
    }
    with (tmp_path / "log").open("wb") as log:
        shell = subprocess.Popen(
            ["bash", "-e"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=tmp_path,
            env=environment,
            start_new_session=True,
        )
        assert shell.stdin is not None
        shell.stdin.write(text.encode())
        shell.stdin.close()
    try:
        yield tmp_path, port
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait(WAIT_S)
        print((tmp_path / "log").read_text())  # noqa: T201 - shown if the test fails


@needs_mosquitto
def test_a_label_arrives_over_tls(terminal: tuple[Path, int]) -> None:
    folder, port = terminal
    wait_until(lambda: listens(port), START_S)
    viewer = load_config([folder / "fleet" / "clients" / "viewer" / "devit.toml"], {}).broker
    labels: list[Label] = []
    with Client(viewer, Topics("home").labels, client_id="viewer") as client:

        def answered() -> bool:
            while not client.inbox.empty():
                labels.append(Label.decode(client.inbox.get().payload))
            return any(label.parts_used == (0, 1) for label in labels)

        wait_until(answered, START_S)
    assert {label.camera for label in labels} == {"desk"}
    assert all(label.degraded and label.parts == 4 for label in labels)
