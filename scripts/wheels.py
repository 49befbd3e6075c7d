"""Build the wheels for boards and servers, and the sdist, into dist/: `make wheels`.

    python scripts/wheels.py [--python 3.11 ...] [--arch aarch64 ...] [--dist FOLDER]

One wheel per CPython and architecture, by GCC, whose C++ library goes inside. The Python that runs
this compiles for all of them against their headers. auditwheel reads which glibc the wheel needs,
and writes the tag. A bill of materials in CycloneDX's format lies beside them.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pybind11
from python_headers import PYTHONS, python_headers
from sbom import write_sbom

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "build" / "wheels"
DIST = ROOT / "dist"
ARCHITECTURES = ("x86_64", "aarch64")
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def compiler(arch: str) -> str:
    """The program that compiles C++ for ``arch``; Debian's names."""
    return "g++" if arch == platform.machine() else f"{arch.replace('_', '-')}-linux-gnu-g++"


def run(*command: str | Path, **env: str) -> None:
    """Run a program of this environment's; its error ends the build."""
    subprocess.run([str(part) for part in command], env=ENVIRONMENT | env, check=True)


def build(version: str, arch: str) -> Path:
    """Compile one wheel and return it, with a tag that promises nothing yet."""
    tag = f"cp{version.replace('.', '')}"
    folder = BUILD / f"{tag}-{arch}"
    shutil.rmtree(folder / "linux", ignore_errors=True)
    soabi = f"{tag.replace('cp', 'cpython-')}-{arch}-linux-gnu"
    defines = {
        "CMAKE_TOOLCHAIN_FILE": ROOT / "scripts" / "wheels.toolchain.cmake",
        "DEVIT_WERROR": "ON",
        "pybind11_DIR": pybind11.get_cmake_dir(),
    }
    if shutil.which("ccache"):  # what does not include Python.h is compiled once per architecture
        defines["CMAKE_CXX_COMPILER_LAUNCHER"] = "ccache"
    settings = {
        "DEVIT_ARCH": arch,
        "DEVIT_CXX": compiler(arch),
        "DEVIT_PYTHON_INCLUDE": python_headers(version, BUILD / "headers"),
        "DEVIT_SOABI": soabi,
        "SETUPTOOLS_EXT_SUFFIX": f".{soabi}.so",
        "SKBUILD_BUILD_DIR": folder / "cmake",
        "SKBUILD_CMAKE_ARGS": ";".join(f"-D{name}={value}" for name, value in defines.items()),
        "_PYTHON_HOST_PLATFORM": f"linux-{arch}",
    }
    run(
        sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet",
        "--no-deps", "--no-build-isolation", f"--wheel-dir={folder / 'linux'}", ROOT,
        **{name: str(value) for name, value in settings.items()},
    )  # fmt: skip
    (wheel,) = (folder / "linux").glob("*.whl")
    tags = ("--python-tag", tag, "--abi-tag", tag)
    run(sys.executable, "-m", "wheel", "tags", "--remove", *tags, wheel)
    (wheel,) = (folder / "linux").glob("*.whl")
    return wheel


def publish(wheel: Path, dist: Path) -> None:
    """Into ``dist``, with the tag of the oldest glibc that has all it needs."""
    run(
        sys.executable, "-m", "auditwheel", "repair", "--plat", "auto", "--only-plat",
        "--wheel-dir", dist, wheel,
    )  # fmt: skip


def main() -> None:
    """Build what the command line names, into an empty folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", action="append", choices=PYTHONS, help="default: all")
    parser.add_argument("--arch", action="append", choices=ARCHITECTURES, help="default: all")
    parser.add_argument("--dist", type=Path, default=DIST, help="default: dist/")
    options = parser.parse_args()
    dist = options.dist
    versions, architectures = options.python or PYTHONS, options.arch or ARCHITECTURES
    for version in versions:  # what lacks is said before anything is compiled
        python_headers(version, BUILD / "headers")
    shutil.rmtree(dist, ignore_errors=True)
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", dist, ROOT)
    for arch in architectures:
        for version in versions:
            publish(build(version, arch), dist)
    write_sbom(dist)
    for file in sorted(dist.iterdir()):
        print(file, f"{file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
