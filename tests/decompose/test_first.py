"""One part learns first, and all parts of the fleet start as copies of it."""

from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import macs
from devit_iot.decompose.network.fleet import Fleet
from devit_iot.decompose.network.models import Classifier
from devit_iot.decompose.network.views import views
from devit_iot.decompose.recipe import Recipe, load_recipe
from devit_iot.decompose.run_folder.folder import RunFolder
from devit_iot.decompose.run_folder.results import ModelResult, Results
from devit_iot.decompose.stages.ensemble import fusion_head
from devit_iot.decompose.stages.first import copies
from devit_iot.decompose.stages.first_share import first_stage, joint_stage
from devit_iot.decompose.stages.plan import trainings_left
from devit_iot.decompose.training.answers import FOLDER
from tests.support.contexts import context
from tests.support.small_run import JOINT, command, failure, kill_at, prepare, run

FIRST = JOINT.replace("[joint]\n", "[joint]\nfirst = 0.4\n").replace("[0.5, 0.4]", "[0.5]")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    prepare(tmp_path, FIRST)
    return tmp_path


def recipe(parts: int, first: float, epochs: int = 5) -> Recipe:
    shipped, _ = load_recipe("cifar100-small")
    assert shipped.joint is not None
    train = replace(shipped.joint.train, epochs=epochs)
    joint = replace(shipped.joint, first=first, train=train)
    return replace(shipped, joint=joint, partition=replace(shipped.partition, parts=parts))


@pytest.mark.parametrize(
    ("parts", "first", "alone", "together"),
    [(4, 0.4, 8, 3), (8, 0.4, 16, 3), (2, 0.4, 4, 3), (4, 0.01, 1, 5), (4, 0.99, 20, 1)],
)
def test_the_work_is_shared(parts: int, first: float, alone: int, together: int) -> None:
    """An epoch of one part costs as much as an epoch of all, divided by their number."""
    chosen = recipe(parts, first)
    stage = first_stage(chosen)
    assert stage is not None
    assert (stage.epochs, joint_stage(chosen).epochs) == (alone, together)
    for shortened in (stage, joint_stage(chosen)):
        assert shortened.warmup_epochs <= shortened.epochs / 4


@pytest.mark.parametrize(
    ("parts", "first", "method"), [(1, 0.4, "joint"), (4, 0, "joint"), (4, 0.4, "dekd")]
)
def test_otherwise_all_learn_together_from_the_beginning(
    parts: int, first: float, method: str
) -> None:
    chosen = replace(recipe(parts, first), method=method)
    assert first_stage(chosen) is None
    assert chosen.joint is not None
    assert joint_stage(chosen) == chosen.joint.train


def test_a_run_gives_copies_that_went_their_own_ways(base: Path) -> None:
    result = run(base)
    assert result.exit_code == 0, result.output
    own = RunFolder(base / "run/parts-2")
    assert not own.has("shrunk-0")
    bundle = Bundle(own.path / "bundle")
    assert [part.spec.view for part in bundle.manifest.parts] == list(views("grid", 2))
    assert len({part.spec.blocks for part in bundle.manifest.parts}) == 1
    assert len(own.load("first-result", ModelResult).history) == 4
    assert len(own.load("ensemble-result", ModelResult).history) == 3
    first, fleet = own.load_tensors("first"), own.load_tensors("ensemble")
    name = "parts.{}.blocks.0.norm1.weight"
    moved = [fleet[name.format(part)] - first[name.format(0)] for part in (0, 1)]
    assert all(float(step.abs().max()) > 0 for step in moved)
    assert not torch.equal(*moved)
    report = (own.path / "report.md").read_text()
    assert "| first part, of which all are copies |" in report
    assert "then its copies learned together" in report
    results = own.load("results", Results)
    assert {part.shrunk.macs for part in results.parts} == {macs(bundle.manifest.parts[0].spec)}
    sides = {
        file.name.split("-side")[1].split("-")[0] for file in (base / "run" / FOLDER).iterdir()
    }
    assert sides == {"32", "43"}, "the first part sees windows of the teacher's size"


def test_killed_in_the_middle_it_resumes_to_the_same_fleet(base: Path) -> None:
    program = command(base, "killed")
    for state in ("first.state", "ensemble.state"):
        kill_at(base / "killed/parts-2" / state, program)
        assert not (base / "killed/parts-2/bundle").exists()
    assert run(base, folder="killed").exit_code == 0
    assert run(base, folder="whole").exit_code == 0
    killed, whole = (Bundle(base / name / "parts-2/bundle") for name in ("killed", "whole"))
    assert killed.fingerprint == whole.fingerprint


def test_parts_of_two_sizes_are_no_copies(base: Path) -> None:
    text = (base / "small.toml").read_text()
    (base / "small.toml").write_text(text.replace("[0.5]", "[0.5, 0.4]"))
    assert "one budget for all" in failure(run(base))


def test_copies_answer_as_the_first_part_does(tmp_path: Path) -> None:
    """The fleet begins with a vote of equals: of one view, all say what the first part says."""
    chosen = recipe(4, 0.4)
    whole = replace(chosen, partition=replace(chosen.partition, views="whole"))
    teacher = Classifier(whole.teacher.model, 5)
    for parameter in teacher.parameters():  # a new classifier is all zeros
        torch.nn.init.normal_(parameter, std=0.2)
    alone = Fleet([teacher.vit], fusion_head([teacher.spec], teacher)).eval()
    parts = copies(context(tmp_path, whole), alone, teacher)
    fleet = Fleet([p.vit for p in parts], fusion_head([p.spec for p in parts], teacher)).eval()
    images = torch.randn(3, 3, 40, 40)
    torch.testing.assert_close(fleet(images).logits, alone(images).logits, rtol=1e-4, atol=1e-4)


def test_its_time_is_planned(tmp_path: Path) -> None:
    plain, shared = recipe(4, 0), recipe(4, 0.4)
    costs = {}
    for name, chosen in (("plain", plain), ("shared", shared)):
        costs[name] = trainings_left(context(tmp_path / name, chosen))
    assert list(costs["shared"]) == ["teacher", "first", "ensemble"]
    teacher = macs(shared.teacher.model) * 32  # images of the context
    asked = dict.fromkeys(("plain",), 5 * teacher)
    learning = costs["plain"]["ensemble"] - asked["plain"]
    assert costs["shared"]["ensemble"] == pytest.approx(0.6 * learning + 3 * teacher)
    assert costs["shared"]["first"] == pytest.approx(0.4 * learning + 8 * teacher)
