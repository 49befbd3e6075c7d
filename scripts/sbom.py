"""A release's bill of materials: what `pip install devit-iot` brings, in CycloneDX's format."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
TAG = f"cp{sys.version_info.major}{sys.version_info.minor}"


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True)


def write_sbom(dist: Path) -> Path | None:
    """Install the wheel for this Python into an empty environment, and write down what is there.

    The C++ runtime of GCC, linked into the wheel, is no Python package and not in the list.

    Args:
        dist: folder with the wheels; the list is written beside them as ``<wheel>.cdx.json``.

    Returns:
        The list's path; None if no wheel is for the Python and machine that run this.
    """
    wheels = sorted(dist.glob(f"*-{TAG}-*x86_64.whl"))
    if not wheels:
        return None
    path = dist / f"{'-'.join(wheels[0].name.split('-')[:2])}.cdx.json"
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "bin" / "python"
        _run(sys.executable, "-m", "venv", "--without-pip", folder)
        _run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", wheels[0])
        _run(
            sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible",
            "--pyproject", ROOT / "pyproject.toml", "--output-file", path, python,
        )  # fmt: skip
    content = json.loads(path.read_text())
    content["metadata"]["component"]["version"] = wheels[0].name.split("-")[1]  # our tag's
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path
