"""compose.yaml: valid by the specification's schema, and true to the image and to the programs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from devit_iot.bundle.reading import Bundle
from tests.shipping.commands import parse
from tests.shipping.manifests import ROOT, Object, compose

CHECKER = ("-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec")
OURS = {name: of for name, of in compose()["services"].items() if name != "broker"}


def checked(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *CHECKER, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_it_is_what_compose_takes(tmp_path: Path) -> None:
    done = checked(ROOT / "compose.yaml")
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((ROOT / "compose.yaml").read_text().replace("read_only:", "readonly:"))
    assert "readonly" in checked(wrong).stdout


def test_it_is_a_whole_hub() -> None:
    always = {name for name, of in compose()["services"].items() if "profiles" not in of}
    assert always == {"broker", "aggregator", "page", "node-0"}
    nodes = [name for name in compose()["services"] if name.startswith("node-")]
    parts = len(Bundle(ROOT / "devit_iot/demo/bundle").manifest.parts)
    assert nodes == [f"node-{part}" for part in range(parts)]


@pytest.mark.parametrize("service", OURS.values(), ids=list(OURS))
def test_each_command_is_one_of_ours_without_rights(service: Object) -> None:
    parse(service["command"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]


def test_targets_are_those_of_the_image() -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    assert {service["build"]["target"] for service in OURS.values()} == {"node", "hub"}
    assert {"node", "hub"} <= set(stages)


def test_only_this_machine_is_listened_to_unless_told_otherwise() -> None:
    ports = [port for of in compose()["services"].values() for port in of.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("${DEVIT_LISTEN:-127.0.0.1}:") for port in ports)
