"""Real processes on the loopback interface, killed at random: the seed decides.

The short form runs with the other tests; ``make chaos SEED=n`` runs the long one.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devit_iot.bundle.calibration import write_calibration
from devit_iot.bundle.reading import Bundle
from devit_iot.demo.processes import FleetProcesses
from tests.e2e.conftest import DEMO
from tests.support.calibrations import sure_after

LONG = "DEVIT_CHAOS_SEED" in os.environ
SEED = int(os.environ.get("DEVIT_CHAOS_SEED", "1"))


Report = Callable[[str], None]


@pytest.fixture
def report(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Report:
    """Prints a line of figures, which are what these tests are for, past pytest's capture."""

    def show(line: str) -> None:
        with capsys.disabled():
            print(f"\n{request.node.name}: {line}")  # noqa: T201

    return show


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[FleetProcesses]:
    if shutil.which("mosquitto") is None:
        pytest.skip("mosquitto is not on PATH: install it to test against it")
    folder = shutil.copytree(DEMO / "bundle", tmp_path / "bundle")
    bundle = Bundle(folder)
    write_calibration(bundle, sure_after(bundle, 2))  # used where the configuration asks for it
    with FleetProcesses(tmp_path, bundle=folder, fleet="test") as processes:
        yield processes
        for name in ("aggregator", *(f"node-{part}" for part in range(4))):
            log = processes.log(name)
            print(f"--- {name}\n{log}")  # noqa: T201 - shown if the test fails
            assert "Traceback" not in log
