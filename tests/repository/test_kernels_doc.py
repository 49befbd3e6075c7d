"""What docs/kernels.md states about the sources."""

import re
import subprocess
import sys
from pathlib import Path

from devit_iot import _core

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "kernel_tables.py"
DOCUMENT = ROOT / "docs" / "kernels.md"


def test_the_generated_parts_are_those_of_the_sources() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_table_has_what_this_build_has() -> None:
    documented = re.findall(r"^\| `(\w+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert {"avx2", "neon", "scalar"} <= set(documented)
    assert [isa for isa in documented if isa in _core.isas()] == _core.isas()


def test_every_contract_of_accuracy_is_there() -> None:
    headers = list((ROOT / "csrc" / "kernels").rglob("*.h"))
    bounds = [line for path in headers for line in path.read_text().splitlines()
              if line.startswith("// Accuracy")]  # fmt: skip
    assert len(bounds) >= 4
    assert DOCUMENT.read_text().count("```text") == len(bounds)
