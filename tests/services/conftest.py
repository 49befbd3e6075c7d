"""One tiny bundle for all tests of services."""

import pytest

from devit_iot.bundle.reading import Bundle
from tests.fleets import make_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("fleet") / "bundle")
