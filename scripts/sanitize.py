"""Build the C++ module with sanitizers and run the kernel tests on it: `make sanitize`.

    python scripts/sanitize.py address|thread [pytest argument ...]

``address`` is AddressSanitizer with UndefinedBehaviorSanitizer, ``thread`` is ThreadSanitizer; the
first thing that they find ends the run. Needs g++. Python itself is not instrumented: the runtime
is preloaded. The row avx_vnni computes with a model of its instruction, so that it runs on any
x86-64; before the tests a line says for which rows they run, and for which they cannot here.
Everything made stays under ``build/sanitize-<kind>/``.
"""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pybind11
from kernel_tables import registry_rows

ROOT = Path(__file__).parent.parent
RUNTIMES = {"address": "libasan.so", "thread": "libtsan.so"}
TESTS = {
    "address": ["tests/kernels"],
    "thread": [
        *(f"tests/kernels/test_sub_vit{dtype}.py" for dtype in ("", "_dtypes", "_f16", "_i8")),
        "tests/kernels/test_threads.py",
    ],
}
OPTIONS = {
    # Python frees little at its end: what it keeps cannot be told from a leak.
    "ASAN_OPTIONS": "detect_leaks=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1",
}


def find(tool: str) -> str:
    """Beside this Python, or on PATH: a virtual environment need not be activated."""
    found = shutil.which(tool, path=str(Path(sys.executable).parent)) or shutil.which(tool)
    if found is None:
        sys.exit(f"sanitize: {tool} is missing")
    return found


def output(*command: str | Path) -> str:
    """Run ``command``; if it fails, what it said is the last thing that this program says."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"sanitize: {' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def build(kind: str, folder: Path) -> Path:
    """Compile the module; -O1, so that reports name the lines that wrote them."""
    output(
        find("cmake"), "-S", ROOT, "-B", folder, "-G", "Ninja",
        f"-DCMAKE_MAKE_PROGRAM={find('ninja')}", f"-DCMAKE_CXX_COMPILER={find('g++')}",
        "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O1 -g1", "-DDEVIT_WERROR=ON",
        "-DDEVIT_MODEL_AVX_VNNI=ON", f"-DDEVIT_SANITIZE={kind}",
        f"-DPython_EXECUTABLE={sys.executable}",
        f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
    )  # fmt: skip
    output(find("cmake"), "--build", folder, "--parallel", str(os.cpu_count()))
    (module,) = folder.glob("_core.*.so")
    return module


def stage(module: Path, folder: Path) -> Path:
    """What the tests see: the package with the instrumented module, the tests, the settings."""
    shutil.rmtree(folder, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__", "*.so", "test_sources.py")
    shutil.copytree(ROOT / "devit_iot", folder / "devit_iot", ignore=ignore)
    shutil.copytree(ROOT / "tests" / "kernels", folder / "tests" / "kernels", ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copy(module, folder / "devit_iot")
    return folder


def write_python(path: Path, kind: str, staged: Path, *, fixed_addresses: bool) -> Path:
    """A program that is this Python with the runtime preloaded, and the C++ library that it hooks.

    A script, so that tests which start another Python start such a one again. -S: an editable
    installation of this project would win over ``staged``.
    """
    libraries = (RUNTIMES[kind], "libstdc++.so")
    paths = [output(find("g++"), f"-print-file-name={name}").strip() for name in libraries]
    site = sysconfig.get_path("platlib")
    settings = OPTIONS | {"PYTHONPATH": f"{staged}:{site}", "LD_PRELOAD": ":".join(paths)}
    exports = "".join(f"export {name}='{value}'\n" for name, value in settings.items())
    prefix = f"{find('setarch')} {platform.machine()} -R " if fixed_addresses else ""
    path.write_text(f'#!/bin/sh\n{exports}exec {prefix}{sys.executable} -S "$@"\n')
    path.chmod(0o755)
    return path


def starts(python: Path) -> bool:
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def covered(isas: list[str]) -> str:
    """For which rows of the registry the tests run, and for which they do not, in words."""
    missing = [row.isa for row in registry_rows() if row.isa not in isas]
    return f"runs for {', '.join(isas)}; not for {', '.join(missing)}, which this CPU lacks"


def main() -> None:
    """Build, and run the tests; exits with pytest's code."""
    kind, *arguments = sys.argv[1:]
    folder = ROOT / "build" / f"sanitize-{kind}"
    staged = stage(build(kind, folder), folder / "stage")
    # ThreadSanitizer wants some addresses for itself, which a kernel's randomness may take.
    for fixed in (False, True):
        python = write_python(folder / "python", kind, staged, fixed_addresses=fixed)
        if starts(python):
            break
    else:
        print(f"sanitize: SKIPPED, {RUNTIMES[kind]} does not start on this kernel", file=sys.stderr)
        return
    isas = output(python, "-P", "-c", "from devit_iot import _core; print(*_core.isas())").split()
    print(f"sanitize: {covered(isas)}", flush=True)
    environment = {"DEVIT_TEST_PROFILE": "quick", "DEVIT_TEST_PYTHON": str(python)}
    done = subprocess.run(
        # the report goes to standard error: pytest must not keep it
        [python, "-m", "pytest", "-q", "--capture=sys", "-p", "no:cacheprovider",
         *(arguments or TESTS[kind])],
        cwd=staged,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"} | environment,
        check=False,
    )  # fmt: skip
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
