"""Taught classes on a fleet of processes: boards know nothing of them, labels come all the same."""

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from devit_iot.bundle.head import read_head
from devit_iot.bundle.reading import Bundle
from devit_iot.demo.processes import BrokerKind, FleetProcesses
from tests.e2e.conftest import DEMO
from tests.e2e.watching import TOPICS, watching
from tests.support.fleets import wait_until
from tests.teach.pictures import photos, picture, teach

SURE = ("--unknown", "0")
CONFIG = """
[heads]
door = ["gate", "default"]
"""


@pytest.fixture
def taught(tmp_path: Path) -> Bundle:
    """The demo's bundle, with a head that tells colours apart."""
    bundle = Bundle(Path(shutil.copytree(DEMO / "bundle", tmp_path / "taught/bundle")))
    assert (
        teach(bundle, photos(tmp_path / "photos", {"closed": 8, "open": 8}), *SURE).exit_code == 0
    )
    return bundle


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[FleetProcesses]:
    """Nodes with the bundle as it was, which has no head beside it; the aggregator has one."""
    (tmp_path / "heads.toml").write_text(CONFIG)
    with FleetProcesses(tmp_path, bundle=DEMO / "bundle", fleet="test") as running:
        yield running
        for name in ("aggregator", *(f"node-{part}" for part in range(4))):
            assert "Traceback" not in running.log(name)
    assert not (DEMO / "bundle/heads").exists()


def aggregate(processes: FleetProcesses, tmp_path: Path, bundle: Bundle) -> None:
    config = str(tmp_path / "heads.toml")
    processes.start_aggregator("--config", config, "--bundle", str(bundle.path))


def test_a_camera_answers_two_questions(
    processes: FleetProcesses, kind: BrokerKind, tmp_path: Path, taught: Bundle
) -> None:
    processes.start_broker(kind)
    for part in range(4):
        processes.start_node(part)
    aggregate(processes, tmp_path, taught)
    version = read_head(taught, "gate").version
    topics: list[str] = []
    with watching(processes.url, TOPICS.head_labels, topics.append) as viewer:
        viewer.wait_online()
        for seed, expected in enumerate(("open", "closed", "open")):
            viewer.labels.clear()
            label = viewer.ask("door", picture(expected, 100 + seed))
            assert (label.label, label.head, label.head_version) == (expected, "gate", version)
            assert not label.degraded
        wait_until(lambda: TOPICS.head_label("door", "default") in topics)
        assert viewer.ask("hall", picture("open", 104)).head == "default"
        assert set(topics) == {TOPICS.head_label("door", "default")}

        processes.kill("node-2")
        wait_until(lambda: "node-2" not in viewer.online)
        viewer.labels.clear()
        label = viewer.ask("door", picture("closed", 105))
        assert (label.label, label.degraded) == ("closed", True)

        photos(tmp_path / "photos", {"ajar": 8})
        said = teach(taught, tmp_path / "photos", "--json", *SURE)
        assert json.loads(said.stdout)["computed"] == 8
        version = read_head(taught, "gate").version
        for seed in itertools.count(200):  # the aggregator looks once a second
            viewer.labels.clear()
            label = viewer.ask("door", picture("ajar", seed))
            if label.head_version == version:
                break
            assert seed < 400, "waited in vain"
        assert label.label == "ajar"

        processes.kill("aggregator")
        wait_until(lambda: "aggregator" not in viewer.online)
        aggregate(processes, tmp_path, taught)
        wait_until(lambda: "aggregator" in viewer.online)
        viewer.labels.clear()
        assert viewer.ask("door", picture("ajar", 500)).head_version == version
