"""A small fleet for each test: heads are written into its folder."""

from pathlib import Path

import pytest

from devit_iot.bundle.reading import Bundle
from tests.support.fleets import make_bundle


@pytest.fixture
def fleet(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "bundle")
