"""The benchmarks run, on so little that their figures mean nothing."""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fleets import make_bundle
from tests.support.small_run import JOINT

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
BRIEF = ("--seconds", "0.1", "--frames", "5", "--without-onnx")


def latency(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run("latency.py", *arguments)


def run(
    script: str, *arguments: str | Path, timeout_s: float = 120
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, BENCHMARKS / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_a_recipe_and_two_bundles_are_compared(tmp_path: Path) -> None:
    fleet = make_bundle(tmp_path / "fleet", parts=3)
    teacher = make_bundle(tmp_path / "teacher", parts=1)
    done = latency(
        *("--case", "digits", "--fleet", fleet.path, "--teacher", teacher.path, *BRIEF, "--json")
    )
    assert done.returncode == 0, done.stderr
    digits, bundles = json.loads(done.stdout)["cases"]
    assert [len(digits["parts"]), len(bundles["parts"])] == [1, 3]  # equal parts are shown once
    assert digits["parts"][0]["mmacs"] <= 0.3 * digits["teacher_native"]["mmacs"]
    assert digits["errors"]["native"] < 1e-5
    for case in (digits, bundles):
        slowest = max(part["ms"]["median"] for part in case["parts"])
        fleet_ms = slowest + case["transport"]["transport"] + case["fusion"]["median"]
        assert case["fleet_ms"] == pytest.approx(fleet_ms)
        ratio = case["teacher_native"]["ms"]["median"] / fleet_ms
        assert case["ratio_native"] == pytest.approx(ratio)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--case", "nothing"], "no recipe 'nothing'"),
        (["--fleet", "somewhere"], "give pairs"),
        (["--fleet", "nowhere", "--teacher", "nowhere"], "is not a bundle"),
    ],
)
def test_what_cannot_be_compared_is_said(arguments: list[str], word: str) -> None:
    done = latency(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert word in done.stderr


def test_ways_to_decode_an_image_are_compared() -> None:
    done = run("image.py", "--seconds", "0", "--json")
    assert done.returncode == 0, done.stderr
    ours, pillow, *others = json.loads(done.stdout)["ways"]
    assert (ours["name"], pillow["name"]) == ("ours", "Pillow, bicubic")
    # Pillow 13 may take the rows first, which moves a byte by one here and there.
    assert ours["error_max"] <= 1
    assert all(0 < way["error_mean"] < 4 and way["ms"] > 0 for way in others)


def test_training_loops_take_turns() -> None:
    done = run("training.py", "--steps", "2", "--rounds", "1", "--batch", "8")
    assert done.returncode == 0, done.stderr
    rows = [
        line.split() for line in done.stdout.splitlines() if " torch" in line or "devit" in line
    ]
    named = {(row[0], row[1]) for row in rows if row[0] in {"teacher", "4"}}
    assert named == {
        ("teacher", "devit"),
        ("teacher", "plain"),
        ("teacher", "torch"),
        ("4", "parts"),
    }
    assert "FMA peak of a core" in done.stdout


def test_the_study_compares_ways_and_goes_on_where_it_was(tmp_path: Path) -> None:
    recipe = tmp_path / "small.toml"
    recipe.write_text(JOINT.replace('"images"', '"digits"'))
    arguments = (
        *("decomposition_study.py", recipe, "--folder", tmp_path / "study", "--epochs", "1"),
        *("--images", "40", "--parts", "1", "2", "--budgets", "0.5"),
    )
    first = run(*arguments)
    assert first.returncode == 0, first.stderr
    rows = [line.split("|")[1:-1] for line in first.stdout.splitlines()[2:]]
    assert len(rows) == len({(name, views) for name, views, *_ in rows}) == 16
    for name, _, one, two in rows:
        shares = [float(cell) for cell in two.split("/")]
        assert len(shares) == 3
        assert all(0 <= share <= 100 for share in shares), name
        shared = ("= 0.1", "= 0.2", "= 0.5", "first", "= 1)", "others")
        assert (one.strip() == "") == any(word in name for word in shared)
    again = run(*arguments)
    assert again.stdout == first.stdout
    assert "ensemble" not in again.stderr  # nothing was trained a second time
    assert (tmp_path / "study/study.md").read_text() == first.stdout


def test_a_fleet_that_sleeps_is_measured() -> None:
    if shutil.which("mosquitto") is None:
        pytest.skip("mosquitto is not on PATH: install it to test against it")
    done = run("scale.py", "--short", "--seconds", "1", "--json", timeout_s=300)
    assert done.returncode == 0, done.stderr
    latest, every, features = map(json.loads, done.stdout.splitlines())
    assert latest["row"]["delivery"] == "latest"
    assert latest["kilobytes"] > 80  # one image in, one out
    for result in (every, features):
        assert result["rate"] > 0
        assert result["answered"] == result["offered"] == 40
        assert 0 < result["p50_ms"] <= result["p95_ms"] <= result["p99_ms"]
    assert every["usage"].keys() == {"broker", "node part-0", "aggregator 0"}
    assert features["usage"].keys() == {"broker", "aggregator 0"}
    for usage in (*every["usage"].values(), *features["usage"].values()):
        assert usage["cpu_ms"] >= 0
        assert usage["end_mb"] > 0


def test_what_a_second_replica_brings_is_told_of_alike_fleets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    rows = importlib.import_module("scale_rows")
    rates = [11.0, 22.0, 100.0, 150.0]
    results = [rows.Result(row, rate) for row, rate in zip(rows.GAINS, rates, strict=True)]
    results += [rows.Result(row, 7.0) for row in rows.GROWTH]  # under no quota, so not compared
    assert rows.gains(results) == [
        "replicas 1 to 2: 2.00 times the rate",
        "shards 1 to 2: 1.50 times the rate",
    ]
    head, _, *lines = rows.table(results).splitlines()
    assert {line.count("|") for line in lines} == {head.count("|")}


def test_many_real_pictures_are_read(tmp_path: Path) -> None:
    fleet = make_bundle(tmp_path / "fleet", parts=2)
    done = run("many_pictures.py", "--pictures", "20", "--bundle", fleet.path, "--json")
    assert done.returncode == 0, done.stderr
    cost = json.loads(done.stdout)
    assert cost["pictures"] == 20
    assert cost["computed_ms"] > cost["cached_ms"] > 0


def test_a_profile_without_perf_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run("node_profile.py", "--images", "5")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: perf is not installed")
