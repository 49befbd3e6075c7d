"""``devit bench`` as a person runs it."""

import itertools
import json
import subprocess
from functools import partial
from pathlib import Path

import msgspec
import pytest

from devit_iot.bench import compare
from devit_iot.bench.compare import Options, compare_models, compare_part
from devit_iot.bench.energy import joules_of_call
from devit_iot.bench.models import MODELS
from devit_iot.bench.peers import ENGINES, Peer, Source
from devit_iot.bench.process import Worker
from devit_iot.bench.report import BenchReport, text
from devit_iot.bench.runners import Job
from devit_iot.bundle.spec import macs
from devit_iot.bundle.storage import Dtype
from devit_iot.energy.meter import NO_METER, EnergyMeter
from devit_iot.errors import ConfigError
from devit_iot.programs import own_program
from tests.energy.machines import FIRMWARE, zone
from tests.support.fleets import make_bundle

PNG = b"\x89PNG\r\n\x1a\n"
MACS = {"M1": 1.25e9, "M2": 4.60e9, "M3": 2.02e9, "M4": 0.188e9, "M5": 17.6e9}
"""Of the published networks; M3 and M4 counted by hand."""


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*own_program("devit_iot.cli.devit"), "bench", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def options(*peers: str, dtype: Dtype = "float32") -> Options:
    return Options(peers, 1, dtype, seconds=0.0, say=lambda _: None, meter=EnergyMeter())


def test_json_has_the_documented_fields_and_the_picture_is_there(tmp_path: Path) -> None:
    fleet = make_bundle(tmp_path / "fleet", parts=2)
    picture = tmp_path / "bars.png"
    done = bench(
        *("--bundle", fleet.path, "--part", "1", "--seconds", "0", "--peers", "ncnn,onnxruntime"),
        *("--json", "--picture", picture, "--watts", "5"),
    )
    assert done.returncode == 0, done.stderr
    report = msgspec.json.decode(done.stdout, type=BenchReport)
    assert json.loads(msgspec.json.encode(report)) == json.loads(done.stdout)
    (network,) = report.networks
    assert {engine.engine for engine in network.engines} | network.missing.keys() == {
        *("devit", "ncnn", "onnxruntime")
    }
    assert network.engines[0].engine == "devit"
    for engine in network.engines:
        assert engine.sound
        assert engine.rounds == 5
        assert 0 < engine.ms_min <= engine.ms
        assert engine.cpu_ms > 0
        assert engine.gflops == pytest.approx(2e-6 * network.macs / engine.ms)
        assert engine.share == pytest.approx(engine.gflops / network.peak_gflops)
        assert (engine.energy_j > 0) == bool(report.machine.energy_from)
    if len(network.engines) > 1:
        fastest = min(network.engines[1:], key=lambda engine: engine.ms)
        assert network.fastest_peer == fastest.engine
        assert network.speedup == pytest.approx(fastest.ms / network.engines[0].ms)
    assert picture.read_bytes().startswith(PNG)


def test_peers_without_float16_compute_in_float32_and_say_so(tmp_path: Path) -> None:
    report = compare_part(
        make_bundle(tmp_path / "fleet", parts=1), 0, options("onnxruntime", dtype="float16")
    )
    (network,) = report.networks
    details = {engine.engine: engine.detail for engine in network.engines}
    assert ", float16, " in details["devit"]
    assert details.get("onnxruntime", "float32") == "float32"
    assert details.keys() | network.missing.keys() == {"devit", "onnxruntime"}


def test_joules_are_told_where_there_is_a_meter(tmp_path: Path) -> None:
    fleet, nothing = make_bundle(tmp_path / "fleet", parts=1), tmp_path / "nothing"
    meter = EnergyMeter(root=nothing, firmware=lambda: FIRMWARE)
    report = compare_part(fleet, 0, options()._replace(meter=meter))
    (engine,) = report.networks[0].engines
    assert report.machine.energy_from == "pmic"
    assert engine.energy_j > 0
    assert text(report).splitlines()[4].endswith("| J, pmic |")
    assert NO_METER not in text(report)
    stated = EnergyMeter(6.0, nothing, firmware=lambda: "")
    report = compare_part(fleet, 0, options()._replace(meter=stated))
    (engine,) = report.networks[0].engines
    assert report.machine.energy_from == "stated"
    assert engine.energy_j == pytest.approx(6e-3 * engine.ms)
    without = EnergyMeter(root=nothing, firmware=lambda: "")
    report = compare_part(fleet, 0, options()._replace(meter=without))
    assert (report.machine.energy_from, report.networks[0].engines[0].energy_j) == ("", 0)
    assert text(report).endswith(NO_METER)


def test_joules_of_a_call_are_shared_by_the_calls(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", "0")
    meter = EnergyMeter(root=tmp_path, firmware=lambda: "")

    def call() -> None:
        counter.write_text("3000000")

    assert joules_of_call(call, meter, seconds=0.0) == 3.0
    counter.write_text("0")
    calls = 0

    def short_call() -> None:
        nonlocal calls
        calls += 1
        counter.write_text(f"{calls}000")

    meter.read(0.0)
    clock = partial(next, itertools.count())
    assert joules_of_call(short_call, meter, seconds=5.0, clock=clock) == pytest.approx(1e-3)
    assert calls == 5


def test_a_peer_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = ENGINES["ncnn"]._replace(modules=("nothing_here",))
    monkeypatch.setitem(ENGINES, "ncnn", absent)
    report = compare_part(make_bundle(tmp_path / "fleet", parts=1), 0, options("ncnn"))
    assert report.networks[0].missing["ncnn"].startswith("not installed (no nothing_here)")
    assert "not measured: ncnn, not installed" in text(report)


def test_a_peer_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_nothing(*_: object) -> Path:
        return tmp_path / "nothing"

    def without_modules(peer: Peer) -> Peer:
        return peer._replace(modules=(), write=write_nothing)

    monkeypatch.setitem(ENGINES, "litert", without_modules(ENGINES["litert"]))
    report = compare_part(make_bundle(tmp_path / "fleet", parts=1), 0, options("litert"))
    assert report.networks[0].missing["litert"].startswith("litert failed: ")


def test_a_wrong_peer_shows_and_wins_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other = (
        make_bundle(tmp_path / name, parts=1, seed=seed) for seed, name in enumerate("ab")
    )
    # Our engine in a peer's place, on other weights.
    of_others = Source(other.part(0).spec, other.read_part(0).tensors)
    wrong = ENGINES["devit"]._replace(
        write=lambda _, folder, dtype: ENGINES["devit"].write(of_others, folder, dtype)
    )
    monkeypatch.setitem(ENGINES, "ncnn", wrong)
    monkeypatch.setattr(compare, "Worker", worker_as_ours)
    report = compare_part(ours, 0, options("ncnn"))
    sound = {engine.engine: engine.sound for engine in report.networks[0].engines}
    assert sound == {"devit": True, "ncnn": False}
    assert report.networks[0].fastest_peer == ""
    assert " WRONG |" in text(report)


def worker_as_ours(job: Job) -> Worker:
    return Worker(job._replace(engine="devit"))


def test_a_peer_whose_model_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Path:
        raise TypeError("no such\noperator")

    monkeypatch.setitem(ENGINES, "litert", ENGINES["litert"]._replace(modules=(), write=refuse))
    report = compare_part(make_bundle(tmp_path / "fleet", parts=1), 0, options("litert"))
    said = "its model cannot be written: no such operator"
    assert report.networks[0].missing == {"litert": said}


@pytest.mark.parametrize("name", MODELS)
def test_models_have_the_size_of_those_they_are_named_after(name: str) -> None:
    _, spec = MODELS[name]
    spec.validate()
    assert macs(spec) == pytest.approx(MACS[name], rel=0.01)


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="no model 'M9'; there are: M1, M2"):
        compare_models(["M9"], options())


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--model", "M9"], "no model 'M9'"),
        (["--peers", "onnxrt"], "no peer 'onnxrt'; there are: onnxruntime, openvino"),
        (["--bundle", "nowhere"], "is not a bundle"),
        (["--model", "M1", "--bundle", "nowhere"], "exclude each other"),
        (["--threads", "9999"], "this process may use"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(arguments: list[str], word: str) -> None:
    done = bench(*arguments)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("Error: ")
    assert word in line
