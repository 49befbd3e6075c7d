"""What `make sanitize` says about its reach."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = "import sys, sanitize; print(sanitize.covered(sys.argv[1:]))"


def test_rows_that_no_test_reaches_are_named() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/kernels.md").read_text(), re.MULTILINE)
    here = rows[-2:]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *here],
        cwd=ROOT / "scripts", capture_output=True, text=True, check=True,
    )  # fmt: skip
    ran, _, left_out = done.stdout.partition("; not for ")
    assert ran == f"runs for {', '.join(here)}"
    assert left_out == f"{', '.join(rows[:-2])}, which this CPU lacks\n"
