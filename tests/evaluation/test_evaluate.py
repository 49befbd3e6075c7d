"""``devit evaluate`` on a small fleet: its numbers against brute force, and its errors."""

import itertools
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import macs
from devit_iot.cli.evaluate import evaluate as command
from devit_iot.energy.meter import NO_METER, EnergyMeter
from devit_iot.errors import DataError
from devit_iot.evaluation.local import LocalFleet, PartFeature
from devit_iot.evaluation.lost_parts import Fused, calibration_error
from tests.energy.machines import FIRMWARE, zone
from tests.support.fleets import CLASSES, image_folder, make_bundle

IMAGES = 20


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("evaluate") / "bundle")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "photos", IMAGES)


def run(bundle: Bundle, data: Path, *options: str) -> Result:
    return CliRunner().invoke(command, [str(bundle.path), "--data", str(data), *options])


def brute_force(
    features: list[NDArray[np.float64]],
    fusion: dict[str, NDArray[np.float32]],
    labels: NDArray[np.int64],
    lost: tuple[int, ...],
) -> float:
    hits = 0
    for image, label in enumerate(labels):
        scores = fusion["bias"].astype(np.float64)
        for part, values in enumerate(features):
            if part in lost:
                scores = scores + fusion[f"parts.{part}.mean"]
            else:
                scores = scores + fusion[f"parts.{part}.weight"] @ values[image]
        hits += int(scores.argmax()) == label
    return hits / len(labels)


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_every_choice_of_lost_parts_is_counted(parts: int) -> None:
    rng = np.random.default_rng(parts)
    labels = rng.integers(0, 3, 60)
    features = [rng.normal(size=(60, 4 + part)) for part in range(parts)]
    fusion = {"bias": rng.normal(size=3).astype(np.float32)}
    for part in range(parts):
        fusion[f"parts.{part}.weight"] = rng.normal(size=(3, 4 + part)).astype(np.float32)
        fusion[f"parts.{part}.mean"] = rng.normal(size=3).astype(np.float32)
    found = Fused(features, fusion, labels)
    assert found.counts() == list(range(parts))
    for lost in map(found.lose, found.counts()):
        wanted = {
            choice: brute_force(features, fusion, labels, choice)
            for choice in itertools.combinations(range(parts), lost.count)
        }
        assert lost.mean == pytest.approx(np.mean(list(wanted.values())))
        assert lost.worst == min(wanted.values())
        assert wanted[lost.worst_parts] == lost.worst
    assert found.top1([]) == brute_force(features, fusion, labels, ())


def test_too_many_choices_are_refused_or_left_out() -> None:
    fusion = {"bias": np.zeros(2, np.float32)}
    for part in range(16):
        fusion[f"parts.{part}.weight"] = np.ones((2, 1), np.float32)
        fusion[f"parts.{part}.mean"] = np.zeros(2, np.float32)
    fused = Fused([np.ones((1, 1))] * 16, fusion, np.zeros(1, np.int64))
    assert fused.counts() == [0, 1, 2, 3, 4, 5, 11, 12, 13, 14, 15]
    with pytest.raises(DataError, match="12870 ways; at most 5000"):
        fused.lose(8)


def slow_calibration_error(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int
) -> float:
    """Guo et al. 2017, eq. (2) and (3), bin by bin."""
    total = 0.0
    for number in range(1, bins + 1):
        inside = [
            index
            for index, value in enumerate(confidence)
            if (number - 1) / bins < value <= number / bins
        ]
        if inside:
            accuracy = sum(bool(right[index]) for index in inside) / len(inside)
            mean = sum(float(confidence[index]) for index in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(accuracy - mean)
    return total


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_the_calibration_error_equals_a_slow_loop(bins: int) -> None:
    rng = np.random.default_rng(bins)
    confidence = np.append(rng.uniform(0.01, 1, 500), [1.0, 0.25, 0.5])
    right = rng.uniform(size=503) < confidence**2
    wanted = slow_calibration_error(confidence, right, bins)
    assert calibration_error(confidence, right, bins) == pytest.approx(wanted)


def test_sure_and_right_is_calibrated_sure_and_wrong_is_not() -> None:
    assert calibration_error(np.ones(9), np.ones(9, np.bool_)) == 0
    assert calibration_error(np.ones(9), np.zeros(9, np.bool_)) == 1


def test_json_agrees_with_classifying_one_by_one(bundle: Bundle, photos: Path) -> None:
    done = run(bundle, photos, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert set(report) == {
        *("images", "unreadable", "top1", "top5", "ece", "lost", "parts", "fusion_ms", "engine"),
        *("cpu_ms", "energy_j", "energy_from"),
    }
    assert (report["images"], report["unreadable"]) == (IMAGES, 0)
    fleet = LocalFleet(bundle)
    files = sorted(photos.rglob("*.png"))
    best = [fleet.classify(file.read_bytes())[0] for file in files]
    right = np.array(
        [entry.label == file.parent.name for entry, file in zip(best, files, strict=True)]
    )
    assert report["top1"] == pytest.approx(right.mean())
    assert report["top5"] == 1  # there are five classes
    confidence = np.array([entry.confidence for entry in best])
    assert report["ece"] == pytest.approx(slow_calibration_error(confidence, right, 15), abs=1e-6)
    assert [lost["count"] for lost in report["lost"]] == [0, 1, 2]
    assert [len(lost["worst_parts"]) for lost in report["lost"]] == [0, 1, 2]
    assert report["lost"][0]["mean"] == pytest.approx(report["top1"])
    for part, cost in enumerate(report["parts"]):
        entry = bundle.part(part)
        assert (cost["part"], cost["macs"]) == (part, macs(entry.spec))
        assert cost["bytes"] == entry.weights.size
        assert cost["ms"] > 0
    assert report["fusion_ms"] > 0
    assert report["cpu_ms"] >= sum(cost["cpu_ms"] for cost in report["parts"])


def test_folders_numbered_from_one_are_counted_rightly_and_said(
    bundle: Bundle, photos: Path
) -> None:
    named = json.loads(run(bundle, photos, "--json").stdout)
    for number, name in enumerate(CLASSES, start=1):
        (photos / name).rename(photos / f"{number:03d}")
    done = run(bundle, photos, "--json")
    assert json.loads(done.stdout)["top1"] == named["top1"]
    assert "folders are numbered from 1, to 5: folder '001' of" in done.stderr
    assert done.stderr.count("\n") == 1


def test_lose_limits_the_table_and_limit_the_images(bundle: Bundle, photos: Path) -> None:
    report = json.loads(run(bundle, photos, "--json", "--lose", "1", "--count", "5").stdout)
    assert [lost["count"] for lost in report["lost"]] == [1]
    assert report["images"] == 5
    text = run(bundle, photos, "--engine", "torch", "--threads", "1").stdout
    assert "parts lost  top-1 mean   worst  lost in the worst" in text
    assert "20 images: top-1" in text
    done = run(bundle, photos, "--lose", "3")
    assert done.exit_code == 1
    assert "--lose takes 0 to 2" in done.output


def test_an_unreadable_image_is_named_and_the_others_count(bundle: Bundle, photos: Path) -> None:
    (photos / "ant" / "bad.png").write_bytes(b"not a picture")
    done = run(bundle, photos, "--json")
    assert done.exit_code == 0, done.output
    assert "ant/bad.png: " in done.stderr
    report = json.loads(done.stdout)
    assert (report["images"], report["unreadable"]) == (IMAGES, 1)
    for file in photos.rglob("*.png"):
        file.write_bytes(b"")
    done = run(bundle, photos)
    assert done.exit_code == 1
    assert "could be read" in done.stderr


def test_folders_may_be_named_by_class_index(bundle: Bundle, photos: Path) -> None:
    wanted = json.loads(run(bundle, photos, "--json").stdout)
    for index, name in enumerate(CLASSES):
        (photos / name).rename(photos / str(index))
    found = json.loads(run(bundle, photos, "--json").stdout)
    for key in ("images", "top1", "top5", "ece", "lost"):
        assert found[key] == wanted[key]


def test_some_classes_are_enough_but_another_one_is_named(bundle: Bundle, photos: Path) -> None:
    for file in (photos / "eel").iterdir():
        file.unlink()
    assert json.loads(run(bundle, photos, "--json").stdout)["images"] == IMAGES - 4
    (photos / "cow").rename(photos / "yak")
    done = run(bundle, photos)
    assert done.exit_code == 1
    assert "Error: 'yak' of" in done.stderr
    assert "ant, bee, cow, dog, eel" in done.stderr


def test_data_with_splits(bundle: Bundle, photos: Path) -> None:
    (photos / "val").mkdir()
    for name in CLASSES:
        (photos / name).rename(photos / "val" / name)
    assert json.loads(run(bundle, photos, "--json").stdout)["images"] == IMAGES
    done = run(bundle, photos, "--split", "train")
    assert done.exit_code == 1
    assert "has no train split" in done.stderr


def with_a_meter(monkeypatch: pytest.MonkeyPatch, root: Path, said: str = "") -> None:
    """The command reads the meters of a made-up machine."""
    meter = partial(EnergyMeter, root=root, firmware=lambda: said)
    monkeypatch.setattr("devit_iot.cli.evaluate.EnergyMeter", meter)


def test_joules_are_those_of_the_counters_for_each_image(
    bundle: Bundle, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", "0", largest=10**12)
    with_a_meter(monkeypatch, tmp_path)
    features, joules = LocalFleet.features, itertools.count(2, step=2)

    def taking(fleet: LocalFleet, payload: bytes) -> list[PartFeature]:
        counter.write_text(f"{next(joules)}000000")
        return features(fleet, payload)

    monkeypatch.setattr(LocalFleet, "features", taking)
    report = json.loads(run(bundle, photos, "--json", "--watts", "5").stdout)
    assert (report["energy_from"], report["energy_j"]) == ("rapl", 2.0)
    assert "J for an image, by the kernel's counters" in run(bundle, photos).stdout


def test_a_power_chip_tells_joules(
    bundle: Bundle, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_a_meter(monkeypatch, tmp_path, FIRMWARE)
    report = json.loads(run(bundle, photos, "--json").stdout)
    assert report["energy_from"] == "pmic"
    assert report["energy_j"] > 5.8 * sum(cost["ms"] for cost in report["parts"]) / 2000
    assert "by the board's power chip" in run(bundle, photos).stdout


def test_stated_watts_are_said_to_be_stated(
    bundle: Bundle, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_a_meter(monkeypatch, tmp_path)
    report = json.loads(run(bundle, photos, "--json", "--watts", "5").stdout)
    assert report["energy_from"] == "stated"
    assert report["energy_j"] > 0
    assert "J for an image, by stated watts times" in run(bundle, photos, "--watts", "5").stdout


def test_without_a_meter_one_line_says_so(
    bundle: Bundle, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_a_meter(monkeypatch, tmp_path)
    report = json.loads(run(bundle, photos, "--json").stdout)
    assert (report["energy_from"], report["energy_j"]) == ("", 0)
    text = run(bundle, photos).stdout
    assert "ms of CPU time\n" + NO_METER in text
    assert run(bundle, photos, "--watts", "-1").exit_code == 2
