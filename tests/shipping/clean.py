"""Environments in which nothing is installed but what a newcomer would install."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def said(
    *command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> str:
    """What a command printed; the test fails with that if it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        env=None if env is None else dict(env),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-8000:]}"
    return done.stdout


def download(requirement: str, dist: Path, folder: Path, *options: str) -> None:
    """Every wheel of a requirement, as for a machine without internet; no source is taken."""
    said(
        *PIP, "download", "--quiet", "--pre", "--only-binary=:all:", f"--find-links={dist}",
        f"--dest={folder}", *options, requirement,
    )  # fmt: skip


def environment(folder: Path, requirement: str, wheels: Path, *options: str) -> Path:
    """A virtual environment made of a folder of wheels alone; its folder of programs."""
    said(sys.executable, "-m", "venv", "--without-pip", folder)
    said(
        *PIP, "--python", folder / "bin" / "python", "install", "--quiet", "--pre", "--no-index",
        f"--find-links={wheels}", *options, requirement,
    )  # fmt: skip
    return folder / "bin"


def kernels_found(*devit: str | Path, env: Mapping[str, str] | None = None) -> str:
    """What `devit doctor` says of the kernels, whether or not a broker answers."""
    done = subprocess.run(
        [*map(str, devit), "doctor", "--json"],
        env=None if env is None else dict(env),
        capture_output=True,
        text=True,
        check=False,
    )
    findings = {each["check"]: each for each in json.loads(done.stdout)["findings"]}
    assert findings["kernels"]["level"] == "ok", findings
    return str(findings["kernels"]["text"])


def bare(programs: Path, extra: Sequence[str] = ("/usr/sbin",)) -> dict[str, str]:
    """Variables of a shell in which an environment is active, and nothing of these tests."""
    path = ":".join([str(programs), *extra, "/usr/bin", "/bin"])
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    return kept | {"PATH": path}
