"""What `devit doctor` says of a machine and its bundle: made-up files, made-up programs."""

import sys
import time
from pathlib import Path

import pytest

import devit_iot
from devit_iot import _core
from devit_iot.bundle import signature
from devit_iot.bundle.manifest import MANIFEST
from devit_iot.config.config import Config, NodeConfig
from devit_iot.doctor import board as board_module
from devit_iot.doctor.board import (
    Machine,
    check_board,
    check_clock,
    check_cpu,
    check_heat,
    check_memory,
)
from devit_iot.doctor.part import check_part
from devit_iot.engine import base
from devit_iot.programs import missing_core
from tests.support.findings import found
from tests.support.fleets import make_bundle

MEMORY = "MemTotal:        8000000 kB\nMemFree:         100000 kB\nMemAvailable:    6000000 kB\n"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A bare one."""
    made = Machine(tmp_path / "proc", tmp_path / "sys", str(tmp_path / "bin"))
    for folder in (made.proc, made.sys, tmp_path / "bin"):
        folder.mkdir()
    (made.proc / "meminfo").write_text(MEMORY)
    return made


def program(machine: Machine, name: str, output: str) -> None:
    path = Path(str(machine.programs)) / name
    path.write_text(f"#!/bin/sh\nprintf '%s\\n' '{output}'\n")
    path.chmod(0o755)


def zone(machine: Machine, temp: str) -> None:
    folder = machine.sys / "class/thermal/thermal_zone0"
    folder.mkdir(parents=True)
    (folder / "type").write_text("cpu-thermal\n")
    (folder / "temp").write_text(temp)


def test_a_sound_machine(machine: Machine) -> None:
    zone(machine, "45000")
    program(machine, "vcgencmd", "throttled=0x0")
    program(machine, "timedatectl", "yes")
    (machine.proc / "cpuinfo").write_text("model name\t: A CPU\n")
    findings = found(check_board(Config(), machine))
    assert {finding.level for finding in findings.values()} == {"ok"}
    assert set(findings) == {
        "cpu", "kernels", "speed", "memory", "temperature", "power", "clock",
    }  # fmt: skip
    assert findings["cpu"].text.startswith("A CPU, ")
    assert findings["kernels"].text.startswith(_core.select_isa())
    assert findings["memory"].text == "5859 MiB of 7812 MiB are free"
    assert findings["temperature"].text == "45 °C"


def test_a_board_calls_itself(machine: Machine) -> None:
    (machine.sys / "firmware/devicetree/base").mkdir(parents=True)
    model = machine.sys / "firmware/devicetree/base/model"
    model.write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    assert "Raspberry Pi 5" in found(check_cpu(Config(), machine))["cpu"].text


def test_a_machine_that_says_nothing(machine: Machine) -> None:
    (machine.proc / "meminfo").unlink()
    findings = found(check_board(Config(), machine))
    assert findings["memory"].level == "warn"
    assert findings["temperature"].text == "no sensor"
    assert "does not say" in findings["power"].text
    assert "unknown CPU" in findings["cpu"].text


def test_kernels_that_do_not_load(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(devit_iot, "_core")
    monkeypatch.setitem(sys.modules, "devit_iot._core", None)
    (finding,) = found(check_cpu(Config(), machine)).values()
    assert (finding.check, finding.level) == ("kernels", "bad")
    assert finding.remedy == missing_core()


def test_an_instruction_set_that_is_not_there(machine: Machine) -> None:
    config = Config(node=NodeConfig(isa="sse9"))
    finding = found(check_cpu(config, machine))["kernels"]
    assert finding.level == "bad"
    assert "sse9" in finding.text


def test_portable_kernels_are_slow(machine: Machine) -> None:
    config = Config(node=NodeConfig(isa="scalar"))
    assert found(check_cpu(config, machine))["kernels"].level == "warn"


def test_more_memory_is_promised_than_there_is(machine: Machine) -> None:
    finding = check_memory(Config(node=NodeConfig(memory_mib=16000)), machine)
    assert finding.level == "warn"
    assert "16000" in finding.text


@pytest.mark.parametrize(("temp", "level"), [("74900", "ok"), ("75000", "warn"), ("90000", "bad")])
def test_heat(machine: Machine, temp: str, level: str) -> None:
    zone(machine, temp)
    assert found(check_heat(machine))["temperature"].level == level


@pytest.mark.parametrize(
    ("output", "level", "word"),
    [
        ("throttled=0x0", "ok", "never"),
        ("throttled=0x50000", "warn", "since the start: under-voltage, throttled"),
        ("throttled=0x50005", "bad", "now: under-voltage, throttled"),
        ("throttled=0x8", "bad", "soft temperature limit"),
        ("VCHI initialization failed", "ok", "does not say"),
    ],
)
def test_power_as_the_firmware_says(machine: Machine, output: str, level: str, word: str) -> None:
    program(machine, "vcgencmd", output)
    finding = found(check_heat(machine))["power"]
    assert finding.level == level
    assert word in finding.text


@pytest.mark.parametrize(("alarm", "level"), [("0", "ok"), ("1", "bad")])
def test_power_as_the_kernel_says(machine: Machine, alarm: str, level: str) -> None:
    folder = machine.sys / "class/hwmon/hwmon0"
    folder.mkdir(parents=True)
    (folder / "name").write_text("rpi_volt\n")
    (folder / "in0_lcrit_alarm").write_text(alarm)
    assert found(check_heat(machine))["power"].level == level


@pytest.mark.parametrize(("said", "level"), [("yes", "ok"), ("no", "warn"), ("", "ok")])
def test_clock(machine: Machine, said: str, level: str) -> None:
    program(machine, "timedatectl", said)
    finding = check_clock(machine)
    assert finding.level == level
    assert time.strftime("%Y-") in finding.text


def test_a_clock_before_this_software(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_module, "EARLIEST", 2**40)
    assert check_clock(machine).level == "bad"


@pytest.fixture
def own(tmp_path: Path) -> Config:
    """A bundle that may be broken."""
    return Config(bundle=str(make_bundle(tmp_path / "bundle").path), node=NodeConfig(part=1))


def changed(config: Config, **node: object) -> Config:
    fields = {name: getattr(config.node, name) for name in NodeConfig.__struct_fields__} | node
    return Config(bundle=config.bundle, trust=config.trust, node=NodeConfig(**fields))


def test_a_sound_part(own: Config) -> None:
    findings = found(check_part(own))
    assert {finding.level for finding in findings.values()} == {"ok"}
    assert "part 1 of 3 is whole" in findings["bundle"].text
    assert "ms an image" in findings["golden"].text


def test_no_bundle_is_given() -> None:
    assert found(check_part(Config()))["bundle"].level == "warn"


@pytest.mark.parametrize("name", [MANIFEST, "part-1.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_damaged_bundle(own: Config, name: str, damage: str) -> None:
    path = Path(own.bundle) / name
    content = bytearray(path.read_bytes())
    path.unlink()
    if damage == "changed":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    findings = found(check_part(own))
    assert findings["bundle"].level == "bad"
    assert "golden" not in findings


def test_another_part_may_be_missing(own: Config) -> None:
    (Path(own.bundle) / "part-0.safetensors").unlink()
    assert found(check_part(own))["bundle"].level == "ok"


def test_a_part_that_there_is_not(own: Config) -> None:
    finding = found(check_part(changed(own, part=3)))["bundle"]
    assert (finding.level, finding.remedy) == ("bad", "choose --part 0 to 2")


def test_signatures(own: Config) -> None:
    key = signature.new_key()
    manifest = (Path(own.bundle) / MANIFEST).read_bytes()
    signed, public = signature.sign(key, manifest)
    trusting = Config(bundle=own.bundle, trust=public, node=own.node)
    assert "not signed" in found(check_part(trusting))["bundle"].text
    (Path(own.bundle) / signature.SIGNATURE).write_bytes(signed)
    assert "signed by the trusted key" in found(check_part(trusting))["bundle"].text
    stranger = signature.sign(signature.new_key(), manifest)[1]
    other = Config(bundle=own.bundle, trust=stranger, node=own.node)
    assert found(check_part(other))["bundle"].level == "bad"


def test_a_part_that_is_too_large(own: Config) -> None:
    finding = found(check_part(changed(own, memory_mib=100)))["part"]
    assert finding.level == "bad"
    assert "node.memory_mib is 100" in finding.text


@pytest.mark.parametrize("node", [{"engine": "onnx"}, {"isa": "sse9"}])
def test_an_engine_that_cannot_be_had(own: Config, node: dict[str, str]) -> None:
    assert found(check_part(changed(own, **node)))["golden"].level == "bad"


def test_a_failed_golden_check(own: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "GOLDEN_TOLERANCE", {"float32": 0.0, "int8": 0.0})
    finding = found(check_part(own))["golden"]
    assert finding.level == "bad"
    assert "golden check" in finding.text
    assert "do not serve with it" in finding.remedy
