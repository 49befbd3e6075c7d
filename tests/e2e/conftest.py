"""Real processes, real brokers."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from devit_iot.demo.processes import BrokerKind, FleetProcesses

DEMO = Path(__file__).parents[2] / "devit_iot" / "demo"


@pytest.fixture(params=["mosquitto", "amqtt"])
def kind(request: pytest.FixtureRequest) -> BrokerKind:
    chosen: BrokerKind = request.param
    if chosen == "mosquitto" and shutil.which("mosquitto") is None:
        pytest.skip("mosquitto is not on PATH: install it to test against it")
    return chosen


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[FleetProcesses]:
    with FleetProcesses(tmp_path, bundle=DEMO / "bundle", fleet="test") as processes:
        yield processes
        for name in ("aggregator", *(f"node-{part}" for part in range(4))):
            log = processes.log(name)
            print(f"--- {name}\n{log}")  # noqa: T201 - shown if the test fails
            assert "Traceback" not in log
