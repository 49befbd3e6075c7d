"""Compare this build's speed with that of another commit: `make bench-check`.

    python scripts/bench_check.py [--rev HEAD~1]

The other commit is built once, under ``build/bench-check/``. Both C++ modules are loaded into this
process and compute the same networks in turn on one thread. Times are the thread's CPU time, which
does not count while other programs run. The exit code is 1 if a network takes more than 5 % longer
with a confidence of 99 % (``devit_iot.bench.paired``).
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pybind11

from devit_iot import _core
from devit_iot.bench.models import MODELS, random_image, random_tensors
from devit_iot.bench.paired import judge
from devit_iot.bundle.storage import Dtype
from devit_iot.engine import native

ROOT = Path(__file__).parent.parent
CASES: tuple[tuple[str, Dtype], ...] = (
    ("M3", "float32"),
    ("M3", "int8"),
    ("M4", "float32"),
    ("M4", "float16"),
    ("M4", "int8"),
)
TOLERANCE = 0.05
ROUNDS = 31
LEAST_OF = 5  # calls of a build in a round; the fastest counts


def output(*command: str | Path) -> str:
    """What ``command`` prints; if it fails, that is the last thing that this program prints."""
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"bench-check: {' '.join(map(str, command))}\n{done.stdout.strip()}")
    return done.stdout.strip()


def commit_of(rev: str) -> str:
    """The commit that ``rev`` names; ends the program if there is none."""
    command = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"bench-check: no commit '{rev}' here; give another one with REV=")
    return done.stdout.strip()


def build(commit: str) -> Path:
    """The module of ``commit``, compiled as a release is."""
    folder = ROOT / "build" / "bench-check" / commit[:12]
    for module in folder.glob("_core.*.so"):
        return module
    source = folder / "source"
    output("git", "worktree", "add", "--force", "--detach", source, commit)
    try:
        tools = Path(sys.executable).parent
        output(
            tools / "cmake", "-S", source, "-B", folder / "cmake", "-G", "Ninja",
            f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}", "-DCMAKE_BUILD_TYPE=Release",
            "-DSKBUILD_PROJECT_NAME=devit_iot", f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        )  # fmt: skip
        output(tools / "cmake", "--build", folder / "cmake")
    finally:
        output("git", "worktree", "remove", "--force", source)
    (built,) = (folder / "cmake").glob("_core.*.so")
    return built.rename(folder / built.name)


def load(path: Path) -> ModuleType:
    """The module in a file, beside the one that is imported already."""
    loader = ExtensionFileLoader("_core", str(path))
    module = module_from_spec(ModuleSpec("_core", loader, origin=str(path)))
    loader.exec_module(module)
    return module


def inference(module: Any, name: str, dtype: Dtype) -> Callable[[], float]:  # noqa: ANN401
    """One inference of a network on one thread: the seconds of CPU time that it takes."""
    _, network = MODELS[name]
    image = random_image(network)
    with mock.patch.object(native, "_core", module):
        engine = native.NativeEngine(
            network, random_tensors(network, 0), threads=1, isa="", dtype=dtype
        )

    def run() -> float:
        begin = time.thread_time()
        engine.features(image)
        return time.thread_time() - begin

    return run


def compare(old: Callable[[], float], new: Callable[[], float]) -> tuple[list[float], list[float]]:
    """The fastest call of each build in each round; who begins changes from call to call."""
    found: tuple[list[float], list[float]] = ([], [])
    for run in (old, new):
        run()
    for _ in range(ROUNDS):
        times: tuple[list[float], list[float]] = ([], [])
        for call in range(LEAST_OF):
            order = ((0, old), (1, new))
            for index, run in order if call % 2 == 0 else order[::-1]:
                times[index].append(run())
        for index in (0, 1):
            found[index].append(min(times[index]))
    return found


def main() -> None:
    """Build the other commit, compare all CASES, and say which became slower."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rev", default="HEAD~1", help="the commit to compare with")
    commit = commit_of(parser.parse_args().rev)
    changed = output("git", "diff", "--name-only", commit, "--", "csrc", "CMakeLists.txt")
    if not changed:
        print(f"bench-check: the C++ code is that of {commit[:12]}: nothing to compare")
        return
    other = load(build(commit))
    slower = []
    for name, dtype in CASES:
        try:
            old = inference(other, name, dtype)
        except TypeError as error:
            sys.exit(f"bench-check: {commit[:12]} makes its engine otherwise: {error}")
        times = compare(old, inference(_core, name, dtype))
        verdict = judge(*times)
        print(
            f"{name} {dtype}: {min(times[1]) * 1e3:.2f} ms, {min(times[0]) * 1e3:.2f} ms in"
            f" {commit[:12]}; {verdict.ratio:.3f} times, at least {verdict.at_least:.3f}",
            flush=True,
        )
        if verdict.slower_than(TOLERANCE):
            slower.append(f"{name} {dtype}")
    if slower:
        sys.exit(f"bench-check: more than {TOLERANCE:.0%} slower: {', '.join(slower)}")


if __name__ == "__main__":
    main()
