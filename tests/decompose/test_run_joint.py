"""Whole runs of joint decomposition: kills, processes, views, and the command line."""

import subprocess
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import WHOLE
from devit_iot.cli.decompose import decompose
from devit_iot.cli.evaluate import evaluate
from devit_iot.decompose.network.views import views
from devit_iot.decompose.recipe import load_recipe
from devit_iot.decompose.run_folder.folder import RunFolder
from devit_iot.decompose.run_folder.results import ModelResult, Results
from devit_iot.decompose.training.answers import FOLDER
from devit_iot.engine.base import load_engine
from tests.support.small_run import (
    ENVIRONMENT,
    JOINT,
    TWO_PROCESSES,
    command,
    failure,
    kill_at,
    prepare,
    run,
)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    prepare(tmp_path, JOINT)
    return tmp_path


def test_a_run_gives_parts_with_views_that_serve(base: Path) -> None:
    result = run(base)
    assert result.exit_code == 0, result.output
    own = base / "run/parts-2"
    bundle = Bundle(own / "bundle")
    assert [part.spec.view for part in bundle.manifest.parts] == list(views("grid", 2))
    for index in range(2):
        load_engine(bundle.read_part(index))
    assert Bundle(base / "run/bundle").part(0).spec.seen == WHOLE
    results = RunFolder(own).load("results", Results)
    measured = CliRunner().invoke(
        evaluate, [str(own / "bundle"), "--data", str(base / "images"), "--json"]
    )
    assert measured.exit_code == 0, measured.output
    assert results.method == "joint"
    assert results.answers is not None
    assert results.answers.passes == 3
    assert [m.epochs for m in results.fleet.milestones] == [1, 2, 4]
    one = next(lost for lost in results.lost if lost.count == 1)
    assert one.mean == pytest.approx(sum(part.without for part in results.parts) / 2)
    assert one.mean == pytest.approx(sum(part.alone for part in results.parts) / 2)


def test_a_teacher_sees_mixed_images_unless_told_otherwise(base: Path) -> None:
    plain = (base / "small.toml").read_text()
    recipes = {
        "plain": plain,
        "mixed": plain.replace("[augment]", "[augment]\nmixup = 1.0"),
        "told": plain.replace("[augment]", "[augment]\nmixup = 1.0").replace(
            "[teacher]\n", "[teacher]\nmix = false\n"
        ),
    }
    teachers = {}
    for name, recipe in recipes.items():
        (base / "small.toml").write_text(recipe)
        assert run(base, "partition", folder=name).exit_code == 0
        teachers[name] = RunFolder(base / name).load_tensors("teacher")["heads.0.weight"]
    assert torch.equal(teachers["told"], teachers["plain"])
    assert not torch.equal(teachers["mixed"], teachers["plain"])


def test_fleets_of_one_folder_make_a_curve(base: Path) -> None:
    assert run(base).exit_code == 0
    picture = base / "curve.png"
    arguments = ["curve", str(base / "run"), "--output", str(picture)]
    one = CliRunner().invoke(decompose, arguments)
    assert "1 fleets in" in failure(one)
    assert not picture.exists()
    assert run(base, "run", "--parts", "1", "--macs", "0.5").exit_code == 0
    assert "boards.png" in (base / "run/parts-1/report.md").read_text()
    two = CliRunner().invoke(decompose, arguments)
    assert two.exit_code == 0, two.output
    assert "1 board " in two.output
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_killed_in_the_middle_it_resumes_to_the_same_fleet(base: Path) -> None:
    program = command(base, "killed")
    for state in ("teacher.state", f"{FOLDER}", "parts-2/ensemble.state"):
        kill_at(base / "killed" / state, program)
        assert not (base / "killed/parts-2/bundle").exists()
    assert run(base, folder="killed").exit_code == 0
    assert run(base, folder="whole").exit_code == 0
    killed, whole = (Bundle(base / name / "parts-2/bundle") for name in ("killed", "whole"))
    assert killed.fingerprint == whole.fingerprint
    assert not list((base / "killed").rglob("*.state"))
    assert not list((base / "killed").rglob("*.partial"))


def test_two_processes_train_one_fleet(base: Path) -> None:
    program = command(base, "pair", *TWO_PROCESSES)
    kill_at(base / "pair/parts-2/ensemble.state", program)
    done = subprocess.run(
        program, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run: done") == 1
    history = RunFolder(base / "pair/parts-2").load("ensemble-result", ModelResult).history
    assert history[-1]["loss"] < history[0]["loss"]


def test_the_command_line_chooses_method_and_views(base: Path) -> None:
    assert run(base, "shrink", "--views", "whole").exit_code == 0
    assert "side" in (base / "run/recipe.json").read_text()
    assert "is of another" not in run(base, "run", "--views", "whole").output
    bundle = Bundle(base / "run/parts-2/bundle")
    assert {part.spec.seen for part in bundle.manifest.parts} == {WHOLE}
    assert bundle.manifest.version == 2
    assert run(base, "distill", "--method", "dekd", folder="paper").exit_code == 0
    assert (base / "paper/parts-2/distilled-1.safetensors").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"grid"', "[[0.0, 0.0, 1.0, 1.0]]", "1 rectangles for 2 parts"),
        ('"grid"', "[[0, 0, 1, 1], [0.5, 0, 0.6, 1]]", "part 1: the view is not inside the image"),
        ('"grid"', "[[0, 0, 1, 1], [0.5, 0, 0.01, 1]]", "less than 0.0625"),
        ("[joint.train]", "[joint.trains]", "unknown key"),
        ('"joint"', '"jointly"', "method"),
        ("individual = 0.2", "individual = 1.2", "individual"),
    ],
)
def test_mistakes_in_the_recipe(base: Path, old: str, new: str, message: str) -> None:
    text = (base / "small.toml").read_text()
    assert old in text
    (base / "small.toml").write_text(text.replace(old, new, 1))
    assert message in failure(run(base))


def test_a_recipe_without_a_joint_table_means_the_papers_order(base: Path) -> None:
    text = (base / "small.toml").read_text()
    begin, end = text.index("[joint]"), text.index("[distill.train]")
    old = (text[:begin] + text[end:]).replace('method = "joint"\n', "")
    (base / "small.toml").write_text(old)
    assert load_recipe(str(base / "small.toml"))[0].method == "dekd"


@pytest.mark.parametrize(("method", "table"), [("joint", "joint"), ("dekd", "distill")])
def test_a_method_needs_its_tables(base: Path, method: str, table: str) -> None:
    text = (base / "small.toml").read_text()
    begin = text.index("[joint]" if method == "joint" else "[distill.train]")
    end = text.index("[distill.train]") if method == "joint" else len(text)
    (base / "small.toml").write_text(text[:begin] + text[end:])
    assert f"method '{method}' needs a [{table}.train]" in failure(
        run(base, "run", "--method", method)
    )
