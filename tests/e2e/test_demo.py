"""The demo as CI and newcomers run it."""

import json
import signal
import subprocess
import urllib.request

import pytest
from websockets import Subprotocol
from websockets.sync.client import connect

from devit_iot.demo.processes import BrokerKind
from devit_iot.programs import own_program
from tests.e2e.commands import command

SLOWLY = ("--rate", "3")
"""Nodes that stall for longer than between two images drop one, as they should: a busy machine may
stall for a tenth of a second."""


def test_every_frame_gets_its_label(kind: BrokerKind) -> None:
    done = command("devit", "demo", "--count", "40", *SLOWLY, "--json", "--broker-kind", kind)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["frames"], result["labels"], result["degraded"]) == (40, 40, 0)
    assert result["accuracy"] >= 0.7
    assert 0 < result["latency_ms"]["p50"] <= result["latency_ms"]["p99"]


def test_a_killed_part_degrades_the_rest(kind: BrokerKind) -> None:
    done = command(
        "devit", "demo", "--count", "30", "--kill-part", "1", "--after", "10", *SLOWLY,
        "--broker-kind", kind,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "* killed the node of part 1" in lines
    assert sum("degraded" in line and "#.##" in line for line in lines) == 20
    assert any(line.startswith("30 labels of 30 images") for line in lines)
    assert lines[-1].startswith("the 20 degraded labels: accuracy")


def test_with_the_page_a_killed_part_comes_back_until_it_is_stopped(kind: BrokerKind) -> None:
    """Browsers reach the broker, whichever it is."""
    page, websocket = "", False
    lines: list[str] = []
    arguments = [
        "--kill-part",
        "1",
        "--after",
        "4",
        "--broker-kind",
        kind,
        "--dashboard",
        "127.0.0.1:0",
    ]
    demo = [*own_program("devit_iot.cli.devit"), "demo", *arguments]
    with subprocess.Popen(demo, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.strip())
            if "the live page is at" in line:
                page = line.split()[-1]
                websocket = answers_websocket(page)
            if "started the node of part 1 again" in line:
                process.send_signal(signal.SIGINT)
    assert websocket
    assert "* killed the node of part 1" in lines
    assert any("labels of" in line for line in lines)  # the summary, after Ctrl-C


def answers_websocket(page: str) -> bool:
    """Whether the broker that the page names speaks MQTT in a WebSocket."""
    with urllib.request.urlopen(f"{page}fleet.json", timeout=20) as answer:  # noqa: S310
        broker = json.load(answer)["broker"]
    with connect(broker, subprotocols=[Subprotocol("mqtt")], proxy=None) as link:
        link.send(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04test")
        return link.recv(20) == b"\x20\x02\x00\x00"


@pytest.mark.parametrize("arguments", [["--kill-part", "4"], ["--bundle", "nowhere"]])
def test_a_demo_that_cannot_be_says_why(arguments: list[str]) -> None:
    done = command("devit", "demo", *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
