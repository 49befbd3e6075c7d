"""The demo as CI and newcomers run it."""

import json

import pytest

from devit_iot.services.processes import BrokerKind
from tests.e2e.test_commands import command


def test_every_frame_gets_its_label(kind: BrokerKind) -> None:
    done = command("devit", "demo", "--frames", "40", "--json", "--broker", kind)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["frames"], result["labels"], result["degraded"]) == (40, 40, 0)
    assert result["accuracy"] >= 0.55
    assert 0 < result["latency_ms"]["p50"] <= result["latency_ms"]["p99"]


def test_a_killed_part_degrades_the_rest(kind: BrokerKind) -> None:
    done = command(
        "devit", "demo", "--frames", "30", "--kill-part", "1", "--after", "10", "--broker", kind
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "* killed the node of part 1" in lines
    assert sum("degraded" in line and "#.##" in line for line in lines) == 20
    assert any(line.startswith("30 labels of 30 images") for line in lines)
    assert lines[-1].startswith("the 20 degraded labels: accuracy")


@pytest.mark.parametrize("arguments", [["--kill-part", "4"], ["--bundle", "nowhere"]])
def test_a_demo_that_cannot_be_says_why(arguments: list[str]) -> None:
    done = command("devit", "demo", *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
