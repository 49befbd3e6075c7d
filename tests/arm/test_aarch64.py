"""The kernel tests on 64-bit Arm, run under user-mode emulation of boards' CPUs.

The emulator gives each CPU its own features and refuses every other instruction, so a row that ran
where it must not would end in an illegal instruction.
"""

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.arm.emulated import check, emulated_python, get_site, needs_tools


class Cpu(NamedTuple):
    """One CPU of QEMU's.

    Attributes:
        isas: instruction sets that run there, best first.
        tests: a pytest expression: all tests, or those that no other CPU has run.
    """

    name: str
    isas: list[str]
    tests: str


CPUS = [
    Cpu("cortex-a53", ["neon", "scalar"], "neon and (float64 or exact)"),  # Pi 3, Zero 2 W
    Cpu("cortex-a72", ["neon", "scalar"], ""),  # Pi 4
    Cpu(
        "cortex-a76",  # Pi 5
        ["neon_dotprod", "neon_fp16", "neon", "scalar"],
        "neon_dotprod or (neon_fp16 and f16 and float64)",
    ),
    Cpu("max", ["neon_i8mm", "neon_dotprod", "neon_fp16", "neon", "scalar"], "neon_i8mm"),
]

pytestmark = needs_tools


@pytest.mark.parametrize("cpu", CPUS, ids=lambda cpu: cpu.name)
def test_kernels_pass_under_emulation(cpu: Cpu, tree: Path) -> None:
    python = emulated_python(cpu.name)
    path = f"{tree}:{get_site()}"
    code = "from devit_iot import _core; print(_core.isas(), _core.select_isa())"
    isas = check(python, "-c", code, cwd=tree, PYTHONPATH=path)
    assert isas.strip() == f"{cpu.isas} {cpu.isas[0]}"
    report = check(
        python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tree, "-k", cpu.tests,
        "tests/kernels", cwd=tree, PYTHONPATH=path, DEVIT_TEST_PROFILE="quick",
        DEVIT_TEST_PYTHON=python, OPENBLAS_NUM_THREADS="1",
    )  # fmt: skip
    assert " passed" in report
