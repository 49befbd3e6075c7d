"""How this package starts programs of its own, and what to say where it was never compiled."""

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
