"""What `make bench-check` says before it builds anything; its judgement is in tests/bench."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

needs_history = pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(), reason="not a clone"
)


@needs_history
@pytest.mark.parametrize("rev", ["nothing-like-this", "--all", ""])
def test_a_commit_that_is_not_there_is_one_line(rev: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "bench_check.py", f"--rev={rev}"],
        capture_output=True,
        text=True,
        check=False,
    )
    message = f"bench-check: no commit '{rev}' here; give another one with REV=\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)
