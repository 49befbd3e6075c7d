"""``devit head`` on a fleet of processes: pushed, listed, refused, rolled back; SIGKILL between."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from devit_iot.bundle.head import current_folder, read_head
from devit_iot.bundle.reading import Bundle
from devit_iot.demo.processes import FleetProcesses
from devit_iot.programs import own_program
from tests.support.fleets import make_bundle, wait_until
from tests.support.heads import write_random

pytestmark = pytest.mark.skipif(
    shutil.which("mosquitto") is None, reason="mosquitto is not on PATH: install it to test"
)


class World:
    """An aggregator with a bundle of its own, and a person's copy of that bundle."""

    def __init__(self, folder: Path, processes: FleetProcesses) -> None:
        self.processes = processes
        self.own = Bundle(folder / "bundle")
        self.copy = Bundle(Path(shutil.copytree(self.own.path, folder / "copy")))
        self.folder = folder

    def devit(self, *arguments: str | Path) -> tuple[int, str]:
        """Exit code and output of ``devit head``."""
        command, *rest = map(str, arguments)
        options = ["--broker", self.processes.url, "--fleet", "test"]
        done = subprocess.run(
            [*own_program("devit_iot.cli.devit"), "head", command, *options, *rest],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    def push(self, seed: int, *options: str) -> tuple[str, str]:
        """Version of a random head, and what its push says."""
        version = write_random(self.copy, "gate", seed)
        code, said = self.devit("push", self.copy.path / "heads/gate", *options)
        assert code == 0 or "did not answer within" in said, said
        return version, said


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    bundle = make_bundle(tmp_path / "bundle")
    with FleetProcesses(tmp_path, bundle=bundle.path, fleet="test") as processes:
        processes.start_broker("mosquitto")
        processes.start_aggregator()
        yield World(tmp_path, processes)
        assert "Traceback" not in processes.log("aggregator")


def test_a_head_is_pushed_listed_and_rolled_back(world: World) -> None:
    wait_until(lambda: "connected" in world.processes.log("aggregator"), 60)
    first, said = world.push(0, "--camera", "door", "--wait", "60")
    assert f"aggregator 0: head gate, version {first}" in said
    assert "cameras door" in said
    second, _ = world.push(1, "--wait", "60")
    code, listed = world.devit("list")
    assert code == 0
    assert f"version {second}" in listed
    assert f"before {first}" in listed
    code, said = world.devit("rollback", "gate", "--wait", "60")
    assert (code, f"version {first}" in said) == (0, True)
    assert read_head(world.own, "gate").version == first

    other = make_bundle(world.folder / "other", seed=9)
    write_random(other, "gate", 2)
    code, said = world.devit("push", other.path / "heads/gate", "--wait", "60")
    assert code == 1
    assert "the old one goes on" in said
    assert "teach it again on this bundle" in said
    assert read_head(world.own, "gate").version == first
    code, said = world.devit("rollback", "nowhere")
    assert (code, "no aggregator says that head 'nowhere' answers; heads: gate" in said) == (
        1,
        True,
    )
    cut = current_folder(other, "gate")
    (cut / "head.json").write_bytes(b"{")
    code, said = world.devit("push", cut)
    assert code == 1
    assert said.startswith("Error: ")


def test_an_aggregator_killed_at_any_moment_has_a_whole_head(world: World) -> None:
    versions = {world.push(0, "--camera", "door", "--wait", "0.1")[0]}
    for seed in range(1, 5):
        wait_until(lambda: "connected" in world.processes.log("aggregator"), 60)
        versions.add(world.push(seed, "--wait", str(seed / 10))[0])
        world.processes.kill("aggregator")
        if (world.own.path / "heads/gate/current").exists():
            assert read_head(world.own, "gate").version in versions
        world.processes.start_aggregator()
    last = read_head(world.copy, "gate").version
    wait_until(lambda: _live(world.own) == last, 60)


def _live(bundle: Bundle) -> str:
    current = bundle.path / "heads/gate/current"
    return current.read_text().strip() if current.exists() else ""
