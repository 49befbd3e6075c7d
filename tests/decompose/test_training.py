"""The pieces of training, and a small run of the whole pipeline."""

import functools
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from msgspec.structs import replace

from devit_iot.bundle import Bundle
from devit_iot.cli.decompose import decompose as command
from devit_iot.decompose.batches import affine
from devit_iot.decompose.data import write_image_zip
from devit_iot.decompose.digits import read_digits
from devit_iot.decompose.ensemble import drop_parts
from devit_iot.decompose.evaluate import evaluate
from devit_iot.decompose.recipe import AugmentConfig, Recipe, StageConfig, load_recipe
from devit_iot.decompose.run import Result, decompose
from devit_iot.decompose.train import sub_task_labels
from devit_iot.engine.base import load_engine
from devit_iot.engine.image import load_image
from devit_iot.errors import BundleError, ConfigError, DataError


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    """Two classes, two parts, few epochs: a second of training."""
    base = tmp_path_factory.mktemp("data")
    for name, held_out in (("train.zip", False), ("test.zip", True)):
        samples = read_digits(held_out=held_out)
        chosen = [sample for sample in samples if sample.class_name in "01"]
        write_image_zip(base / name, chosen)
    recipe, _ = load_recipe("digits")
    stage = StageConfig(
        epochs=10, warmup_epochs=1.0, batch=64, learning_rate=2e-3, weight_decay=0.05
    )
    return (
        replace(
            recipe,
            data=replace(recipe.data, train="train.zip", test="test.zip"),
            sub_task=replace(stage, epochs=1),
            joint=stage,
            parts=recipe.parts[:2],
        ),
        base,
    )


def run(recipe: Recipe, base: Path, output: Path) -> Result:
    decode = functools.partial(load_image, spec=recipe.parts[0])
    return decompose(recipe, base, output, decode=decode, command="test", progress=lambda *_: None)


def test_a_small_run_learns_and_its_bundle_is_sound(
    small: tuple[Recipe, Path], tmp_path: Path
) -> None:
    result = run(*small, tmp_path / "bundle")
    assert result.joint_losses[-1] < 0.6 * result.joint_losses[0]
    assert result.evaluation.whole > 0.9
    result.bundle.verify()
    for part in range(2):
        load_engine(result.bundle, part, name="torch")
    assert result.bundle.manifest.classes == ("0", "1")
    again = run(*small, tmp_path / "again")
    assert again.bundle.fingerprint == result.bundle.fingerprint


def test_a_lost_loss_stops_the_training(small: tuple[Recipe, Path], tmp_path: Path) -> None:
    recipe, base = small
    wild = replace(recipe.sub_task, learning_rate=1e30, warmup_epochs=0.0, epochs=3)
    with pytest.raises(ConfigError, match="lower learning_rate"):
        run(replace(recipe, sub_task=wild), base, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_mistakes_show_before_the_training(small: tuple[Recipe, Path], tmp_path: Path) -> None:
    recipe, base = small
    with pytest.raises(BundleError, match="exists already"):
        run(recipe, base, tmp_path)
    mixed = replace(recipe, data=replace(recipe.data, test="digits:test"))
    with pytest.raises(DataError, match="differ in their classes: 2, 3"):
        run(mixed, base, tmp_path / "bundle")
    with pytest.raises(ConfigError, match="2 classes into 3 parts"):
        run(replace(recipe, parts=(*recipe.parts, recipe.parts[0])), base, tmp_path / "bundle")


def test_the_command_reports_and_records_itself(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "devit_iot/decompose/recipes/digits.toml").read_text()
    path, held_out = tmp_path / "quick.toml", tmp_path / "held-out.zip"
    text = text.replace("epochs = 30", "epochs = 1").replace("epochs = 60", "epochs = 1")
    path.write_text(text)
    arguments = ["run", str(path), "--output", str(tmp_path / "out"), "--held-out", str(held_out)]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert "parts lost" in result.output
    assert "100 %" in result.output
    provenance = Bundle(tmp_path / "out").manifest.provenance
    assert provenance["command"] == "devit decompose " + " ".join(arguments)
    assert held_out.stat().st_size > 0
    result = CliRunner().invoke(command, ["run", "nope", "--output", str(tmp_path / "x")])
    assert result.exit_code == 1
    assert result.output.startswith("Error: no recipe 'nope'")
    assert len(result.output.splitlines()) == 1


def test_classes_outside_the_group_are_other() -> None:
    assert sub_task_labels((1, 4), 6).tolist() == [2, 0, 2, 2, 1, 2]


def test_drop_parts_keeps_one_and_puts_the_mean_in_place() -> None:
    torch.manual_seed(0)
    prefixes = [torch.randn(500, 2, 4), torch.randn(500, 2, 6), torch.randn(500, 2, 4)]
    kept = []
    for before, after in zip(prefixes, drop_parts(prefixes, 0.9), strict=True):
        same = (before == after).all(dim=(1, 2))
        mean = before.mean(dim=0).expand_as(before)
        torch.testing.assert_close(after[~same], mean[~same])
        kept.append(same)
    counts = torch.stack(kept).sum(dim=0)
    assert counts.min() == 1
    assert 0.3 < torch.stack(kept).float().mean() < 0.5  # 0.1, and the one that is always kept
    undropped = drop_parts(prefixes, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(prefixes, undropped, strict=True))


def test_augmentation_of_range_zero_changes_nothing() -> None:
    images = torch.rand(4, 3, 16, 16)
    generator = torch.Generator().manual_seed(1)
    still = affine(images, AugmentConfig(0, 0, 0), generator)
    torch.testing.assert_close(still, images, atol=1e-5, rtol=0)
    moved = affine(images, AugmentConfig(10, 0.1, 0.1), generator)
    assert (moved - images).abs().mean() > 0.05


def test_evaluation_counts_every_choice_of_lost_parts() -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 3, 50)
    features = [rng.normal(size=(50, 4)) for _ in range(3)]
    fusion = {"bias": np.zeros(3, np.float32)}
    for part in range(3):
        fusion[f"parts.{part}.weight"] = rng.normal(size=(3, 4)).astype(np.float32)
        fusion[f"parts.{part}.mean"] = np.zeros(3, np.float32)
    found = evaluate(features, fusion, labels)
    for lost in found.by_count:
        top1 = []
        for absent in itertools.combinations(range(3), lost.count):
            kept = set(range(3)) - set(absent)
            logits = np.sum([features[i] @ fusion[f"parts.{i}.weight"].T for i in kept], axis=0)
            top1.append((logits.argmax(axis=1) == labels).mean())
        assert lost.mean == pytest.approx(np.mean(top1))
        assert lost.worst == pytest.approx(min(top1))
    assert [lost.count for lost in found.by_count] == [0, 1, 2]
    assert found.by_count[1].worst == min(found.single)
