"""Answers before all parts have answered: what they save, what they promise, what they need."""

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from devit_iot.bundle.calibration import calibration_path, read_calibration
from devit_iot.bundle.head import Head, read_head
from devit_iot.bundle.reading import Bundle
from devit_iot.cli.devit import main as devit
from devit_iot.engine.fusion import Fusion
from devit_iot.engine.sureness import Sureness
from devit_iot.errors import DataError
from devit_iot.evaluation.asking import Evidence, ask, evidence
from devit_iot.evaluation.calibrate import best_order, calibrate
from tests.support.fleets import image_folder, make_bundle

CLASSES = 10
NAMES = tuple(map(str, range(CLASSES)))


def said(images: int, parts: int, seed: int, weak: float = 1.0) -> Evidence:
    """Parts that agree in part; the last one says least where ``weak`` is below 1."""
    rng = np.random.default_rng(seed)
    truth = (
        4 * rng.standard_normal((images, 1)) * np.eye(CLASSES)[rng.integers(CLASSES, size=images)]
    )
    terms = []
    for part in range(parts):
        strength = weak if part == parts - 1 else 1.0
        noise = rng.standard_normal((images, CLASSES))
        terms.append(strength * (np.abs(truth) + noise).astype(np.float32))
    return Evidence(tuple(terms), rng.standard_normal(CLASSES).astype(np.float32) / 4)


def scattered(images: int, parts: int, seed: int) -> Evidence:
    """Parts of which all say more of every class where the image says less of its own."""
    rng = np.random.default_rng(seed)
    own = 8 * np.eye(CLASSES)[rng.integers(CLASSES, size=images)]
    loud = np.exp(rng.normal(0.5, 0.6, size=(images, 1)))
    terms = [
        (own + loud * rng.standard_normal((images, CLASSES)) * 2).astype(np.float32)
        for _ in range(parts)
    ]
    return Evidence(tuple(terms), np.zeros(CLASSES, np.float32))


def head_of(parts: int) -> Head:
    return Head("default", "0" * 16, NAMES, (1,) * parts, {}, 0.0)


@pytest.mark.parametrize(("parts", "images"), [(2, 3000), (4, 3000), (4, 300), (8, 1500)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_early_labels_keep_their_promise(parts: int, images: int, confidence: float) -> None:
    fitted = calibrate(said(images, parts, seed=1), head_of(parts), "1" * 16)
    fresh = said(4000, parts, seed=2)
    judge = Sureness(fitted, fresh.prior)
    asked = ask(fresh, judge, fitted.order, confidence)
    early = asked.used < parts
    assert early.mean() > 0.2
    assert (asked.answers == fresh.whole)[early].mean() >= confidence


@pytest.mark.parametrize("images", [162, 3000])
def test_where_evidence_scatters_by_the_image_fewer_parts_keep_the_promise(
    images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, fresh = scattered(images, 4, seed=1), scattered(6000, 4, seed=2)
    fitted = calibrate(found, head_of(4), "1" * 16)
    monkeypatch.setattr("devit_iot.evaluation.calibrate.SCATTER_SHARES", (0.0,))
    plain = calibrate(found, head_of(4), "1" * 16)
    assert fitted.stages[0].scatter > 0
    used = []
    for made in (fitted, plain):
        asked = ask(fresh, Sureness(made, fresh.prior), (0, 1, 2, 3), 0.95)
        early = asked.used < 4
        assert (asked.answers == fresh.whole)[early].mean() >= 0.95
        used.append(asked.used.mean())
    assert used[0] < 0.97 * used[1]


def test_heads_of_two_classes_are_calibrated() -> None:
    found = said(600, 3, seed=7)
    two = Evidence(tuple(term[:, :2] for term in found.terms), found.prior[:2])
    fitted = calibrate(two, head_of(3), "1" * 16)
    assert {stage.scatter for stage in fitted.stages} == {0.0}


def test_a_large_fleet_needs_few_stages() -> None:
    fitted = calibrate(said(1500, 8, seed=1), head_of(8), "1" * 16)
    assert len(fitted.stages) == 14
    named = [stage.parts for stage in fitted.stages if stage.parts]
    assert named == [tuple(sorted(fitted.order[:count])) for count in range(1, 8)]
    assert Sureness(fitted, np.zeros(3)).stage((7, 1)).count == 2


@pytest.mark.parametrize("parts", [3, 8])
def test_a_part_that_says_little_is_asked_last(parts: int) -> None:
    found = said(2000, parts, seed=3, weak=0.1)
    assert calibrate(found, head_of(parts), "1" * 16).order[-1] == parts - 1


def test_the_best_order_asks_the_fewest_parts() -> None:
    found = said(1200, 3, seed=4, weak=0.3)
    fitted = calibrate(found, head_of(3), "1" * 16)
    judge = Sureness(fitted, found.prior)
    used = {order: ask(found, judge, order, 0.95).used.sum() for order in permutations(range(3))}
    assert used[best_order(found, fitted)] == min(used.values())


def test_evidence_adds_up_to_what_an_aggregator_computes(bundle: Bundle) -> None:
    fusion, head = Fusion(bundle), read_head(bundle, "default")
    rng = np.random.default_rng(5)
    features: list[NDArray[np.float32]] = [
        rng.standard_normal((4, dim)).astype(np.float32) for dim in head.feature_dims
    ]
    found = evidence(features, head)
    for choice in [(), (1,), (0, 2), (0, 1, 2)]:
        wanted = [fusion.logits({part: features[part][i] for part in choice}) for i in range(4)]
        np.testing.assert_allclose(
            np.broadcast_to(found.scores(choice), (4, len(head.classes))), wanted, atol=1e-4
        )


@pytest.mark.parametrize(("parts", "images", "words"), [(1, 500, "one part"), (3, 20, "too few")])
def test_what_cannot_be_calibrated_is_refused(parts: int, images: int, words: str) -> None:
    with pytest.raises(DataError, match=words):
        calibrate(said(images, parts, seed=6), head_of(parts), "1" * 16)


def test_the_commands_calibrate_and_measure(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    before = (bundle.path / "manifest.json").read_bytes()
    photos = image_folder(tmp_path / "photos", 60)
    run = CliRunner().invoke
    measure = ["evaluate", str(bundle.path), "--data", str(photos), "--confidence", "0.9"]
    refused = run(devit, measure)
    assert refused.exit_code == 1
    assert "devit bundle calibrate" in refused.output
    assert "Traceback" not in refused.output

    made = run(devit, ["bundle", "calibrate", str(bundle.path), "--data", str(photos)])
    assert made.exit_code == 0, made.output
    assert (bundle.path / "manifest.json").read_bytes() == before
    fitted = read_calibration(Bundle(bundle.path), read_head(bundle, "default"))
    assert fitted.images == 60

    done = run(devit, [*measure, "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    orders = report["early"]["orders"]
    assert [tuple(orders[0]["order"]), len(orders)] == [fitted.order, 6]
    assert all(0 < order["share"] <= 1 and 0 < order["macs"] <= 1 for order in orders)
    costs = [part["cpu_ms"] for part in report["parts"]]
    assert min(costs) > 0
    for order in orders:
        assert costs[order["order"][0]] <= order["cpu_ms"] <= sum(costs) * 1.0001
    text = run(devit, measure)
    assert "MACs  CPU ms  early" in text.output


def test_the_held_out_share_of_a_training_alone_is_taken(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    photos = image_folder(tmp_path / "photos", 120)
    command = ["bundle", "calibrate", str(bundle.path), "--data", str(photos)]
    assert CliRunner().invoke(devit, [*command, "--held-out", "0.75"]).exit_code == 0
    few = CliRunner().invoke(devit, [*command, "--held-out", "0.1"])
    assert "too few" in few.output
    assert calibration_path(bundle, "default").is_file()  # the one before stays
