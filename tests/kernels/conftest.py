"""Every test that asks for ``isa`` runs once per instruction set of this machine."""

import os

import pytest
from hypothesis import settings

from devit_iot import _core

# DEVIT_TEST_PROFILE=quick is for emulators.
settings.register_profile("default", max_examples=300, deadline=None)
settings.register_profile("quick", max_examples=20, deadline=None)
settings.load_profile(os.environ.get("DEVIT_TEST_PROFILE", "default"))


@pytest.fixture(params=_core.isas(), scope="session")
def isa(request: pytest.FixtureRequest) -> str:
    return str(request.param)
