import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from devit_iot.bundle.reading import Bundle
from devit_iot.service import status as status_module
from tests.support.fleets import make_bundle

TESTS = Path(__file__).parent
SLOW = (
    *("arm", "bench", "browser", "chaos", "e2e", "homeassistant/test_announcements.py"),
    *("homeassistant/test_fleet.py", "fleet/test_access.py", "repository/test_benchmarks.py"),
    *(
        "repository/test_site.py",
        "decompose",
        "kernels",
        "fuzz",
        "doctor",
        "service/test_exporter.py",
        "hub/test_whole_fleet.py",
        "hub/test_secure_fleet.py",
        "hub/test_signed_fleet.py",
        "hub/test_stolen_hub.py",
        "teach",
    ),
    *("export/test_import_real_weights.py", "engine/test_memory.py", "transport/test_mqtt.py"),
)
"""What `make check` leaves out: trainings, emulated boards, browsers, brokers, many processes."""

TOGETHER = ("tests/arm", "tests/shipping")
"""Rooms whose tests share a folder under ``build/``: one process runs all of a room's."""

# An example may take any time on a machine that does other work.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        where = item.path.relative_to(TESTS)
        if any(where.is_relative_to(slow) for slow in SLOW):
            item.add_marker("slow")


class OneProcessForAFile(LoadScopeScheduling):  # type: ignore[misc]
    """Tests of a file share fixtures, and some go on where the one before ended."""

    def _split_scope(self, nodeid: str) -> str:
        """The name of all tests that one process runs."""
        file = nodeid.partition("::")[0]
        return next((room for room in TOGETHER if file.startswith(f"{room}/")), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneProcessForAFile:
    config.option.loadscopereorder = False  # rooms that take long come first, as they are named
    return OneProcessForAFile(config, log)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command run in this process sets up the log; the next test needs its own."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One tiny bundle for all tests of services."""
    return make_bundle(tmp_path_factory.mktemp("fleet") / "bundle")


@pytest.fixture
def prompt_status(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statuses that changed are published at once, not at most once a second."""
    monkeypatch.setattr(status_module, "INTERVAL_S", 0.0)
