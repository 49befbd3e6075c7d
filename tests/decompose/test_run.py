"""Whole runs on small data: every stage, kills and resumptions, and what must fail early."""

import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import macs
from devit_iot.cli.evaluate import evaluate
from devit_iot.datasets.digits import read_digits
from devit_iot.datasets.source import write_image_zip
from devit_iot.decompose.run_folder.folder import RunFolder
from devit_iot.decompose.run_folder.results import ModelResult
from devit_iot.engine.base import load_engine
from tests.support.small_run import (
    ENVIRONMENT,
    PER_CLASS,
    RECIPE,
    TWO_PROCESSES,
    command,
    failure,
    kill_at,
    prepare,
    run,
)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    prepare(tmp_path)
    return tmp_path


def test_a_run_gives_a_fleet_within_its_budgets_and_a_report(base: Path) -> None:
    result = run(base)
    assert result.exit_code == 0, result.output
    own = base / "run/parts-2"
    bundle = Bundle(own / "bundle")
    teacher = Bundle(base / "run/bundle").manifest.parts[0].spec
    for index, share in enumerate((0.5, 0.4)):
        part = bundle.manifest.parts[index]
        assert 0.9 * share < macs(part.spec) / macs(teacher) <= share
        assert part.dtype == "float16"
        load_engine(bundle.read_part(index))
    groups = [part.classes for part in bundle.manifest.parts]
    assert sorted(sum(groups, ())) == [0, 1, 2, 3]
    assert (own / "report.md").read_text().startswith("#")
    assert "bundle:" in result.output
    measured = CliRunner().invoke(
        evaluate, [str(own / "bundle"), "--data", str(base / "images"), "--json"]
    )
    assert measured.exit_code == 0, measured.output


def test_stages_one_by_one_equal_a_whole_run(base: Path) -> None:
    for stage in ("partition", "shrink", "distill", "ensemble", "run"):
        result = run(base, stage)
        assert result.exit_code == 0, result.output
        assert f"{stage}: done" in result.output
        stored = {path.name for path in (base / "run/parts-2").iterdir()}
        assert ("shrunk-0.safetensors" in stored) == (stage != "partition")
        assert ("bundle" in stored) == (stage == "run")
    assert run(base, folder="again").exit_code == 0
    one, two = (Bundle(base / name / "parts-2/bundle") for name in ("run", "again"))
    assert one.fingerprint == two.fingerprint


def test_killed_in_the_middle_of_stages_it_resumes_to_the_same_fleet(base: Path) -> None:
    """SIGKILL while a stage has an unfinished state, three times at different stages."""
    program = command(base, "killed")
    for state in ("teacher.state", "parts-2/distilled-1.state", "parts-2/ensemble.state"):
        kill_at(base / "killed" / state, program)
        assert not (base / "killed/parts-2/bundle").exists()
    assert run(base, folder="killed").exit_code == 0
    assert run(base, folder="whole").exit_code == 0
    killed, whole = (Bundle(base / name / "parts-2/bundle") for name in ("killed", "whole"))
    assert killed.fingerprint == whole.fingerprint
    assert not list((base / "killed").rglob("*.state"))


def test_two_processes_train_one_fleet(base: Path) -> None:
    """By torchrun, killed in the last stage and resumed: each thing is said and written once."""
    program = command(base, "pair", *TWO_PROCESSES)
    kill_at(base / "pair/parts-2/ensemble.state", program)
    teacher = (base / "pair/teacher.safetensors").stat().st_mtime_ns
    done = subprocess.run(
        program, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run: done") == 1
    assert done.stderr.count("train images  100 %") == 1
    assert (base / "pair/teacher.safetensors").stat().st_mtime_ns == teacher
    Bundle(base / "pair/parts-2/bundle").verify()
    for stage in ("distilled-0", "distilled-1", "ensemble"):
        history = RunFolder(base / "pair/parts-2").load(f"{stage}-result", ModelResult).history
        assert history[-1]["loss"] < history[0]["loss"], stage


def test_another_number_of_parts_shares_the_teacher(base: Path) -> None:
    assert run(base, "partition").exit_code == 0
    before = (base / "run/teacher.safetensors").stat().st_mtime_ns
    assert run(base, "partition", "--parts", "4", "--macs", "0.5").exit_code == 0
    assert (base / "run/teacher.safetensors").stat().st_mtime_ns == before
    assert (base / "run/parts-4/partition.json").exists()


def test_parts_that_see_other_classes_know_them_all(base: Path) -> None:
    text = RECIPE.replace("[distill.train]", "[distill]\nothers = 0.5\n\n[distill.train]")
    (base / "small.toml").write_text(text)
    assert run(base, "distill").exit_code == 0
    folder = RunFolder(base / "run/parts-2")
    for part in range(2):
        assert folder.load_model(f"distilled-{part}", torch.device("cpu")).classes == 4


def test_a_folder_belongs_to_one_recipe(base: Path) -> None:
    assert run(base, "partition").exit_code == 0
    (base / "small.toml").write_text(RECIPE.replace("seed = 42", "seed = 43"))
    assert "holds the run of another recipe" in failure(run(base, "partition"))


def test_a_folder_belongs_to_its_images(base: Path) -> None:
    assert run(base, "partition").exit_code == 0
    samples = [s for s in read_digits(held_out=False) if s.class_name in "0123"]
    write_image_zip(base / "images/train.zip", samples[1 : 4 * PER_CLASS])
    assert "or of other images" in failure(run(base, "partition"))


def test_a_folder_takes_one_run_at_a_time(base: Path) -> None:
    with RunFolder(base / "run").locked():
        assert "another run works in" in failure(run(base, "partition"))
    assert run(base, "partition").exit_code == 0


def test_nothing_is_cut_from_what_fits_as_it_is(base: Path) -> None:
    assert run(base, "shrink", "--macs", "1.0,0.4").exit_code == 0
    folder, cpu = RunFolder(base / "run/parts-2"), torch.device("cpu")
    teacher = RunFolder(base / "run").load_model("teacher", cpu)
    whole, cut = (folder.load_model(f"shrunk-{part}", cpu) for part in range(2))
    assert whole.spec == teacher.spec
    assert macs(cut.spec) < macs(teacher.spec)


def test_a_teacher_that_is_not_trained_brings_its_classifier(base: Path) -> None:
    assert run(base, "partition").exit_code == 0
    trained = RunFolder(base / "run").load_model("teacher", torch.device("cpu"))
    body = {name: value.contiguous() for name, value in trained.vit.state_dict().items()}
    save_file(body, base / "body.safetensors")
    begin, end = RECIPE.index("[teacher.train]"), RECIPE.index("[teacher.part]")
    stock = '[teacher]\ncheckpoint = "body.safetensors"\n\n[teacher.model]'
    untrained = RECIPE[:begin] + RECIPE[end:]
    (base / "small.toml").write_text(untrained.replace("[teacher.model]", stock))
    said = failure(run(base, "partition", folder="untrained"))
    assert "has no classifier of 4 classes for the teacher" in said
    (head,) = trained.heads
    whole = body | {f"head.{name}": value for name, value in head.state_dict().items()}
    save_file(whole, base / "body.safetensors")
    assert run(base, "partition", folder="untrained").exit_code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--parts", "5", "--macs", "0.5"), "4 classes, too few for 5 parts"),
        (("--macs", "0.5,0.3,0.2"), "3 budgets for 2 parts"),
        (("--macs", "1.0X"), "'1.0X' is no number"),
        (("--macs", "9G"), "must lie between 0 and 1"),
        (("--data", "nowhere"), "nowhere"),
        (("--checkpoint", "nothing.safetensors"), "nothing.safetensors is not a file"),
    ],
)
def test_mistakes_on_the_command_line(base: Path, options: tuple[str, ...], message: str) -> None:
    assert message in failure(run(base, "run", *options))
    assert not list((base / "run").rglob("*.safetensors"))


def test_bad_images_fail_before_the_training(base: Path) -> None:
    def photo(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 40), 50).convert("RGB").save(path)

    images = base / "photos"
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            for index in range(4):
                photo(images / split / name / f"{index}.png")
    options = ("--data", str(images))
    damaged = images / "train/dog/2.png"
    payload = damaged.read_bytes()
    damaged.write_bytes(payload[:300])
    assert "dog/2.png" in failure(run(base, "run", *options))
    damaged.write_bytes(payload)
    (images / "train/emu").mkdir()
    assert "'emu'" in failure(run(base, "run", *options))
    (images / "train/emu").rmdir()
    for split in ("train", "test"):
        shutil.rmtree(images / split / "dog")
    assert "only the class 'cat'" in failure(run(base, "run", *options))
    assert not list((base / "run").rglob("*.safetensors"))
