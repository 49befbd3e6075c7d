"""Fuzz every reader of bytes that others wrote, guided by coverage: `make fuzz`.

    python scripts/fuzz.py [executions in all]

The targets are those of ``tests/fuzz/targets.py``; each runs in a process of its own. An input
that raises what it should not, takes ten seconds or a gigabyte ends its target and is kept under
``build/fuzz/``, where the inputs that reached new code wait for the next run.
"""

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent.parent
OUT = ROOT / "build/fuzz"
MAX_BYTES = 4096
HANG_S = 10
MEMORY_MB = 1024
# libFuzzer's progress: executions, and the resident megabytes of the process.
PROGRESS = re.compile(r"^#(\d+)\s.* rss: (\d+)Mb", re.MULTILINE)
EXECUTED = re.compile(r"number_of_executed_units: (\d+)")
SECOND_HALF = 2


def fuzz(name: str, executions: int) -> bool:
    """Run one target and print what it took; whether all went well."""
    corpus = OUT / name
    command = [
        *(sys.executable, "-m", "tests.fuzz", name, str(corpus)),
        *(f"-runs={executions}", f"-max_len={MAX_BYTES}", f"-timeout={HANG_S}"),
        *(f"-rss_limit_mb={MEMORY_MB}", f"-artifact_prefix={OUT}/{name}-", "-print_final_stats=1"),
    ]
    begin = time.monotonic()
    run = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    seconds = time.monotonic() - begin
    (OUT / f"{name}.log").write_text(run.stdout + run.stderr)
    progress = [(int(runs), int(mb)) for runs, mb in PROGRESS.findall(run.stderr)]
    executed = EXECUTED.search(run.stderr)
    done = int(executed[1]) if executed else 0
    halfway = [mb for runs, mb in progress if runs >= done / SECOND_HALF]
    growth = halfway[-1] - halfway[0] if halfway else 0
    verdict = "ok" if run.returncode == 0 else f"FAILED, see {OUT}/{name}.log"
    print(f"{name:18} {done:9} {seconds:7.0f} s {growth:+6} MB  {verdict}", flush=True)
    return run.returncode == 0


def main(arguments: Sequence[str]) -> None:
    if find_spec("atheris") is None:
        sys.exit("fuzz: atheris is missing: pip install -e '.[fuzz]' (Linux, Python 3.11 to 3.13)")
    sys.path.insert(0, str(ROOT))
    from tests.fuzz.targets import TARGETS

    executions = int(arguments[0]) if arguments else 1_000_000
    OUT.mkdir(parents=True, exist_ok=True)
    print("target             executions      time  memory, second half")
    results = [fuzz(name, executions * of.percent // 100) for name, of in TARGETS.items()]
    if not all(results):
        sys.exit("fuzz: see above")


if __name__ == "__main__":
    main(sys.argv[1:])
