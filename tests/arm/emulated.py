"""Our package on 64-bit Arm: cross-built here, run under user-mode emulation.

Everything made stays under ``build/arm/``: the root file system and the packages are kept, the
build is incremental.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pybind11
import pytest

ROOT = Path(__file__).parent.parent.parent
BUILD = ROOT / "build" / "arm"
PYTHON = "3.11"  # bookworm's
SUITE = "bookworm"

TOOLS = {
    "qemu-aarch64-static": "qemu-user-static",
    "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu",
    "mmdebstrap": "mmdebstrap",
    "cmake": "cmake",
    "ninja": "ninja-build",
}
SYSTEM_PACKAGES = [
    f"python{PYTHON}",
    f"libpython{PYTHON}-dev",
    "libstdc++6",
    "libgcc-s1",
    "libc-bin",
]
PYTHON_PACKAGES = [
    "click",
    "hypothesis",
    "msgspec",
    "numpy",
    "paho-mqtt",
    "pillow",
    "pytest",
    "safetensors",
]
GLIBC_TAGS = ["2_28", "2_27", "2_17", "2014"]


def find(tool: str) -> str | None:
    """Beside this Python, or on PATH: a virtual environment need not be activated."""
    return shutil.which(tool, path=str(Path(sys.executable).parent)) or shutil.which(tool)


MISSING = [package for tool, package in TOOLS.items() if find(tool) is None]
needs_tools = pytest.mark.skipif(
    bool(MISSING), reason=f"no Arm tests without these packages: {', '.join(MISSING)}"
)


def check(*command: str | Path, cwd: Path = ROOT, **env: str | Path) -> str:
    """Run ``command``; what it said is the error message if it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | {name: str(value) for name, value in env.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-8000:]}"
    return done.stdout


def cached(path: Path, make: Callable[[Path], None]) -> Path:
    """Make ``path`` under another name first: an interrupted run leaves no half."""
    if not path.exists():
        partial = path.with_suffix(f".partial-{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        make(partial)
        partial.rename(path)
    return path


def make_rootfs(path: Path) -> None:
    include = f"--include={','.join(SYSTEM_PACKAGES)}"
    check("mmdebstrap", "--architectures=arm64", "--variant=extract", include, SUITE, path)


def pip_install(path: Path, *packages: str | Path) -> None:
    """Install wheels for the root file system's Python into the folder ``path``."""
    platforms = [f"--platform=manylinux{'' if tag == '2014' else '_'}{tag}_aarch64"
                 for tag in GLIBC_TAGS]  # fmt: skip
    check(
        sys.executable, "-m", "pip", "install", "--quiet", "--only-binary=:all:",
        f"--target={path}", f"--python-version={PYTHON}", "--implementation=cp",
        f"--abi=cp{PYTHON.replace('.', '')}", "--abi=abi3", "--abi=none",
        *platforms, *packages,
    )  # fmt: skip


def get_rootfs() -> Path:
    """A Debian root file system for arm64 with a Python; nothing in it was run to make it."""
    return cached(BUILD / "rootfs", make_rootfs)


def get_site() -> Path:
    """The folder of the packages that the tests and the services import."""
    key = hashlib.sha256(repr(PYTHON_PACKAGES).encode()).hexdigest()[:8]
    return cached(BUILD / f"site-{key}", lambda path: pip_install(path, *PYTHON_PACKAGES))


def cross_build(rootfs: Path) -> Path:
    """Compile the C++ module for the root file system's Python."""
    build = BUILD / "cmake"
    check(
        find("cmake") or "", "-S", ROOT, "-B", build, "-G", "Ninja",
        f"-DCMAKE_MAKE_PROGRAM={find('ninja')}",
        f"-DCMAKE_TOOLCHAIN_FILE={Path(__file__).with_name('aarch64.toolchain.cmake')}",
        "-DCMAKE_BUILD_TYPE=Release", "-DDEVIT_WERROR=ON",
        f"-DDEVIT_ROOTFS={rootfs}", f"-DDEVIT_PYTHON={PYTHON}",
        f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
    )  # fmt: skip
    check(find("cmake") or "", "--build", build)
    (module,) = build.glob("_core.*.so")
    return module


def emulated_python(cpu: str) -> Path:
    """A program that is the root file system's Python on a ``cpu`` of QEMU's.

    A script, so that what starts another Python starts an emulated one again.
    """
    python = BUILD / f"python-{cpu}"
    qemu = f"{find('qemu-aarch64-static')} -cpu {cpu} -L {get_rootfs()}"
    python.write_text(f'#!/bin/sh\nexec {qemu} {get_rootfs()}/usr/bin/python{PYTHON} "$@"\n')
    python.chmod(0o755)
    return python
