"""The wheel that the tests of this folder install, built once, as a release builds it."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shipping.manifests import ROOT

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="session")
def dist() -> Path:
    """A folder with wheel, source distribution and bill of materials for this Python and CPU."""
    folder = ROOT / "build" / "wheels" / "tested"
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "wheels.py", "--dist", folder,
         "--python", PYTHON, "--arch", platform.machine()],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:]
    return folder
