"""The kernel tests on 64-bit Arm, run under user-mode emulation of a board's CPU."""

from pathlib import Path

import pytest

from tests.arm.emulated import check, emulated_python, get_site, needs_tools

CPUS = ["cortex-a72"]  # Raspberry Pi 4

pytestmark = needs_tools


@pytest.mark.parametrize("cpu", CPUS)
def test_kernels_pass_under_emulation(cpu: str, tree: Path) -> None:
    python = emulated_python(cpu)
    path = f"{tree}:{get_site()}"
    code = "from devit_iot import _core; print(_core.isas())"
    isas = check(python, "-c", code, cwd=tree, PYTHONPATH=path)
    assert isas.strip() == "['neon', 'scalar']"
    report = check(
        python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tree, "tests/kernels",
        cwd=tree, PYTHONPATH=path, DEVIT_TEST_PROFILE="quick", DEVIT_TEST_PYTHON=python,
    )  # fmt: skip
    assert " passed" in report
