"""The C headers of the Pythons that wheels are built for.

The processors that wheels exist for are 64-bit and little-endian, as this machine is, and
pyconfig.h is the same for all of them; one set of headers per Python is enough.
"""

import shutil
import subprocess
import sys
from pathlib import Path

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SUITES = {"3.11": "bookworm", "3.13": "trixie", "3.14": "forky"}
"""The Debian that has each Python; no Debian has 3.12."""

INSTALLED = (".pyenv/versions/{}.*/bin/python", ".local/share/uv/python/cpython-{}.*/bin/python3")
"""Where pyenv and uv keep their Pythons, below the home folder."""

_ASK = (
    "import sys, sysconfig;"
    "print('{}.{}'.format(*sys.version_info), sysconfig.get_path('include'),"
    " sysconfig.get_config_h_filename(), sep='\\n')"
)


def interpreters(version: str) -> list[str]:
    """Programs that may be Python ``version``: this one, on PATH, of pyenv and of uv."""
    found = [sys.executable, shutil.which(f"python{version}")]
    for pattern in INSTALLED:
        found += map(str, sorted(Path.home().glob(pattern.format(version))))
    return [python for python in found if python]


def _of_interpreter(version: str, folder: Path) -> bool:
    """Copy the headers of an installed Python, if one has them."""
    for python in interpreters(version):
        asked = subprocess.run([python, "-c", _ASK], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            is_version, include, config = asked.stdout.splitlines()
            if is_version == version and (Path(include) / "Python.h").exists():
                shutil.copytree(include, folder)
                shutil.copy(config, folder / "pyconfig.h")  # Debian keeps it apart
                return True
    return False


def _of_debian(version: str, folder: Path) -> bool:
    """Copy the headers out of Debian's package, which mmdebstrap unpacks."""
    mmdebstrap = shutil.which("mmdebstrap")
    if version not in SUITES or mmdebstrap is None:
        return False
    root = folder.with_name(f"{folder.name}.debian")
    shutil.rmtree(root, ignore_errors=True)
    subprocess.run(
        [mmdebstrap, "--quiet", "--variant=extract", f"--include=libpython{version}-dev",
         SUITES[version], root],
        check=True,
    )  # fmt: skip
    include = root / "usr" / "include"
    (config,) = include.glob(f"*/python{version}/pyconfig.h")
    shutil.copytree(include / f"python{version}", folder)
    shutil.copy(config, folder / "pyconfig.h")
    shutil.rmtree(root)
    return True


def python_headers(version: str, folder: Path) -> Path:
    """Return a folder with Python.h and pyconfig.h of one Python, kept from call to call.

    Args:
        version: major and minor version, for instance ``3.13``.
        folder: where such folders are kept.

    Raises:
        SystemExit: no installed Python has them, and no Debian.
    """
    path = folder / f"python{version}"
    if not (path / "pyconfig.h").exists():
        shutil.rmtree(path, ignore_errors=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not _of_interpreter(version, path) and not _of_debian(version, path):
            sys.exit(
                f"wheels: no headers of Python {version}: install it (uv python install {version}, "
                "or pyenv), or leave it out: scripts/wheels.py --python VERSION ..."
            )
    return path
