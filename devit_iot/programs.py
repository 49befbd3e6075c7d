"""Programs of this package and of the system, and what to say where nothing was compiled."""

import shutil
import subprocess
import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def own_program(module: str, python: str = sys.executable) -> list[str]:
    """The command that runs a module of this package, for instance ``devit_iot.cli.node``.

    The current folder is kept off the module path: neither a checkout of this project nor a file
    such as ``json.py`` in it counts. What is installed does, and so does PYTHONPATH.

    Args:
        module: the module's full name.
        python: the interpreter, 3.11 or later.
    """
    return [python, "-P", "-m", module]


def system_says(name: str, *arguments: str, timeout_s: float, path: str | None = None) -> str:
    """What a program of the system prints; empty if it is not there, fails or takes too long.

    Args:
        name: the program's name.
        arguments: words for it.
        timeout_s: seconds that it may take.
        path: folders to look for it in, as in PATH; None: those of PATH.
    """
    program = shutil.which(name, path=path)
    if program is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603 - a program of the system
            [program, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def missing_core(package: Path = _PACKAGE) -> str:
    """Why the C++ module may be missing, and what to do; the end of an error message.

    Args:
        package: folder that this package was imported from.
    """
    if (package.parent / "CMakeLists.txt").exists() and not any(package.glob("_core*.so")):
        return (
            f"devit_iot was imported from the source folder {package}, where nothing is compiled: "
            "run the installed `devit`, or `python -P -m devit_iot.cli.devit`, or start it in "
            "another folder; a checkout without an installation needs `pip install .` first"
        )
    return "reinstall devit-iot, or use --engine tflite"
