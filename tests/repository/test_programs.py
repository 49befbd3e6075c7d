"""The folder that one stands in never counts in the programs that this package starts."""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from devit_iot.bench.process import Worker
from devit_iot.bench.runners import Job
from devit_iot.demo.processes import FleetProcesses
from devit_iot.programs import missing_core, own_program
from tests.support.fleets import make_bundle, wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["devit_iot", "json", "numpy", "paho"])
def here(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a module or package called like one that our programs import."""
    name = request.param
    trap = f'raise SystemExit("{name} of the current folder was imported")\n'
    if name == "json":
        (tmp_path / "json.py").write_text(trap)
    else:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(trap)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", ["devit", "node", "aggregate"])
def test_a_command_is_the_installed_one(name: str) -> None:
    command = [*own_program(f"devit_iot.cli.{name}"), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_fleet_of_processes_is_the_installed_one(here: Path) -> None:
    bundle = make_bundle(here / "bundle", parts=1).path
    with FleetProcesses(here, bundle=bundle, fleet="t") as processes:
        processes.start_node(0)
        processes.start_aggregator()
        for name in ("node-0", "aggregator"):
            wait_until(partial(in_log, processes, name, "unreachable"))
        processes.check()


def in_log(processes: FleetProcesses, name: str, word: str) -> bool:
    processes.check()
    return word in processes.log(name)


def test_a_worker_of_the_benchmark_is_the_installed_one(here: Path) -> None:
    bundle = make_bundle(here / "bundle", parts=1)
    np.save(here / "image.npy", bundle.read_part(0).tensors["golden.image"].astype(np.uint8))
    with Worker(Job("devit", str(bundle.path), "image.npy", 1, "float32")) as worker:
        assert worker.feature.size == bundle.part(0).spec.feature_dim


def test_nothing_starts_our_modules_in_another_way() -> None:
    plain = re.compile(r'"-m",\s*f?"devit_iot\.')
    tops = ("devit_iot", "tests", "scripts", "benchmarks")
    sources = [path for top in tops for path in (ROOT / top).rglob("*.py")]
    assert len(sources) > 100
    assert [path for path in sources if plain.search(path.read_text())] == []


def test_a_source_folder_without_the_compiled_module_is_named(tmp_path: Path) -> None:
    package = tmp_path / "devit_iot"
    package.mkdir()
    assert missing_core(package) == "reinstall devit-iot, or use --engine tflite"
    (tmp_path / "CMakeLists.txt").touch()
    said = missing_core(package)
    assert f"source folder {package}" in said
    assert "`python -P -m devit_iot.cli.devit`" in said
    (package / "_core.cpython-399-riscv64-linux-gnu.so").touch()  # it is compiled, for another CPU
    assert missing_core(package) == "reinstall devit-iot, or use --engine tflite"


@pytest.mark.parametrize("arguments", [["demo"], ["bench"]])
def test_commands_that_need_the_compiled_module_say_so_at_once(arguments: list[str]) -> None:
    code = """
import sys
sys.modules["devit_iot._core"] = None
from devit_iot.cli.devit import main
main()
"""
    command = [sys.executable, "-P", "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: the C++ module does not load (")
    assert len(done.stderr.splitlines()) == 1
