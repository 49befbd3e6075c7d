"""Which instruction set runs: the best one, or the forced one, or an error; never another one."""

import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from devit_iot import _core
from tests.kernels.reference import PYTHON


def select_in_new_process(forced: str) -> subprocess.CompletedProcess[str]:
    code = "from devit_iot import _core; print(_core.select_isa())"
    return subprocess.run(
        [PYTHON, "-c", code],
        env={"DEVIT_ISA": forced, "PYTHONPATH": ":".join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_scalar_runs_anywhere_and_comes_last() -> None:
    assert _core.isas()[-1] == "scalar"


def test_the_first_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEVIT_ISA", raising=False)
    assert _core.select_isa() == _core.isas()[0]


def test_an_instruction_set_needs_its_cpu_features() -> None:
    cpu = _core.cpu_features()
    avx2 = cpu["avx2"] and cpu["fma"] and cpu["f16c"]
    assert ("avx2" in _core.isas()) == avx2
    assert ("avx_vnni" in _core.isas()) == (avx2 and cpu["avx_vnni"])
    assert ("avx512" in _core.isas()) == (avx2 and cpu["avx512"])
    assert ("avx512_vnni" in _core.isas()) == (avx2 and cpu["avx512"] and cpu["avx512_vnni"])
    assert ("neon" in _core.isas()) == cpu["neon"]
    assert ("neon_fp16" in _core.isas()) == (cpu["neon"] and cpu["fp16"])
    assert ("neon_dotprod" in _core.isas()) == (cpu["neon"] and cpu["fp16"] and cpu["dotprod"])
    assert ("neon_i8mm" in _core.isas()) == (cpu["neon"] and cpu["fp16"] and cpu["i8mm"])


@pytest.mark.skipif(platform.machine() != "x86_64", reason="an emulator shows its host's CPU")
def test_features_of_the_cpu_are_those_that_linux_lists() -> None:
    """Linux lists none whose registers it does not keep."""
    listed = re.search(r"^flags\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    assert listed
    flags = set(listed[1].split())
    names = {
        "avx2": {"avx2"},
        "fma": {"fma"},
        "f16c": {"f16c"},
        "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
        "avx512_vnni": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"},
    }
    cpu = _core.cpu_features()
    assert cpu["avx_vnni"] or "avx_vnni" not in flags  # a build with a model always says so
    assert {name: cpu[name] for name in names} == {
        name: needs <= flags for name, needs in names.items()
    }


def test_a_name_selects(isa: str) -> None:
    assert _core.select_isa(isa) == isa


def test_the_environment_forces(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVIT_ISA", isa)
    assert _core.select_isa() == isa


def test_the_environment_of_a_new_process_forces(isa: str) -> None:
    assert select_in_new_process(isa).stdout.strip() == isa


@pytest.mark.parametrize("name", ["avx9", "AVX2", " scalar"])
def test_an_unknown_name_is_an_error_that_lists_the_others(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = f"no kernels for instruction set '{name}' here; available: {', '.join(_core.isas())}"
    with pytest.raises(ValueError, match=message):
        _core.select_isa(name)
    monkeypatch.setenv("DEVIT_ISA", name)
    with pytest.raises(ValueError, match=message):
        _core.select_isa()


def test_another_architecture_is_an_error() -> None:
    foreign = min({"avx2", "neon"} - set(_core.isas()))
    with pytest.raises(ValueError, match="available: "):
        _core.select_isa(foreign)


def test_the_peak_is_a_rate(isa: str) -> None:
    assert _core.fma_peak(isa) > 0
