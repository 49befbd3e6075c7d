"""One broker and one Home Assistant for all of these tests; `make test-homeassistant` runs them."""

import os
import shutil
from collections.abc import Iterator

import pytest

from devit_iot.config.config import BrokerConfig
from devit_iot.demo.processes import FleetProcesses
from tests.e2e.conftest import DEMO
from tests.homeassistant.core import Core
from tests.support.mosquitto import Client

WANTED = "DEVIT_HOMEASSISTANT" in os.environ


@pytest.fixture(scope="package")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetProcesses]:
    """A fleet of which only the broker runs."""
    if not WANTED:
        pytest.skip("`make test-homeassistant` runs this: it installs 1 GB of Home Assistant")
    for tool in ("mosquitto", "mmdebstrap"):
        assert shutil.which(tool), f"{tool} is not on PATH: install it"
    folder = tmp_path_factory.mktemp("fleet")
    with FleetProcesses(folder, bundle=DEMO / "bundle", fleet="test") as started:
        started.start_broker("mosquitto")
        yield started


@pytest.fixture(scope="package")
def core(processes: FleetProcesses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    with Core(tmp_path_factory.mktemp("homeassistant") / "config", processes.port) as running:
        yield running
        print(running.log())  # noqa: T201 - shown if the last test fails


@pytest.fixture
def client(processes: FleetProcesses) -> Iterator[Client]:
    """Hears all that is announced."""
    config = BrokerConfig(url=processes.url)
    with Client(config, "homeassistant/device/+/config", client_id="tester") as connected:
        yield connected
