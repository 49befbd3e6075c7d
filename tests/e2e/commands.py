"""Our commands, run as a person runs them."""

import os
import subprocess
from pathlib import Path

from devit_iot.programs import own_program


def command(
    name: str, *arguments: str | Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*own_program(f"devit_iot.cli.{name}"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )


def assert_one_line_error(done: subprocess.CompletedProcess[str], *words: str) -> None:
    lines = done.stderr.strip().splitlines()
    assert done.returncode != 0
    assert lines[-1].startswith("Error: ")
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in lines[-1]
