"""Build the wheels for boards and servers into dist/: `make wheels`.

    python scripts/wheels.py [architecture ...]

One wheel per architecture, for the CPython that runs this, by GCC, whose C++ library goes inside.
auditwheel reads which glibc that needs, and writes the tag.
"""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pybind11

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "build" / "wheels"
DIST = ROOT / "dist"
# 64-bit and little-endian, as this machine's Python: its pyconfig.h holds for all of them.
ARCHITECTURES = ("x86_64", "aarch64")
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def compiler(arch: str) -> str:
    """The program that compiles C++ for ``arch``; Debian's names."""
    return "g++" if arch == platform.machine() else f"{arch.replace('_', '-')}-linux-gnu-g++"


def copy_headers(folder: Path) -> None:
    """Python's headers alone: Debian keeps pyconfig.h apart, per architecture."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sysconfig.get_path("include"), folder)
    shutil.copy(sysconfig.get_config_h_filename(), folder / "pyconfig.h")


def build(arch: str) -> Path:
    """Compile one wheel and return it, with a tag that promises nothing yet."""
    folder = BUILD / arch
    shutil.rmtree(folder / "linux", ignore_errors=True)
    copy_headers(folder / "include")
    soabi = f"cpython-{sys.version_info.major}{sys.version_info.minor}-{arch}-linux-gnu"
    defines = {
        "CMAKE_TOOLCHAIN_FILE": ROOT / "scripts" / "wheels.toolchain.cmake",
        "DEVIT_WERROR": "ON",
        "pybind11_DIR": pybind11.get_cmake_dir(),
    }
    settings = {
        "DEVIT_ARCH": arch,
        "DEVIT_CXX": compiler(arch),
        "DEVIT_PYTHON_INCLUDE": folder / "include",
        "DEVIT_SOABI": soabi,
        "SETUPTOOLS_EXT_SUFFIX": f".{soabi}.so",
        "SKBUILD_BUILD_DIR": folder / "cmake",
        "SKBUILD_CMAKE_ARGS": ";".join(f"-D{name}={value}" for name, value in defines.items()),
        "_PYTHON_HOST_PLATFORM": f"linux-{arch}",
    }
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet",
         "--no-deps", "--no-build-isolation", f"--wheel-dir={folder / 'linux'}", ROOT],
        env=ENVIRONMENT | {name: str(value) for name, value in settings.items()},
        check=True,
    )  # fmt: skip
    (wheel,) = (folder / "linux").glob("*.whl")
    return wheel


def publish(wheel: Path) -> None:
    """Into dist/, with the tag of the oldest glibc that has all it needs."""
    subprocess.run(
        [sys.executable, "-m", "auditwheel", "repair", "--plat", "auto", "--only-plat",
         "--wheel-dir", DIST, wheel],
        env=ENVIRONMENT,
        check=True,
    )  # fmt: skip


def main() -> None:
    """Build what the command line names."""
    for arch in sys.argv[1:] or ARCHITECTURES:
        publish(build(arch))
    for wheel in sorted(DIST.glob("*.whl")):
        print(wheel.relative_to(ROOT), f"{wheel.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
