"""The tree that emulated programs see."""

import shutil
from pathlib import Path

import pytest

from tests.arm.emulated import BUILD, ROOT, cross_build, get_rootfs


@pytest.fixture(scope="session")
def tree() -> Path:
    """The package with the Arm module, the kernel tests, the settings."""
    stage = BUILD / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__", "*.so", "test_sources.py")
    shutil.copytree(ROOT / "devit_iot", stage / "devit_iot", ignore=ignore)
    shutil.copytree(ROOT / "tests" / "kernels", stage / "tests" / "kernels", ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", stage)
    shutil.copy(cross_build(get_rootfs()), stage / "devit_iot")
    return stage
