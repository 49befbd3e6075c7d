import logging
from collections.abc import Iterator

import pytest

from devit_iot.bundle.reading import Bundle
from tests.support.fleets import make_bundle


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
