"""The teacher's stored answers: right, asked once, and never those of another teacher."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

from devit_iot.decompose.network.models import Classifier
from devit_iot.decompose.recipe import AugmentConfig, StageConfig
from devit_iot.decompose.run_folder.folder import RunFolder, write_whole
from devit_iot.decompose.training.answers import FOLDER, answers_result, taught_batches
from devit_iot.decompose.training.batches import Batch, Epochs
from devit_iot.decompose.training.context import Context
from devit_iot.errors import DataError
from tests.support.contexts import PASSES, context, recipe
from tests.support.shapes import VIT, random_model

STAGE = StageConfig(epochs=4, learning_rate=1e-3, batch=8)


@pytest.fixture
def teacher() -> Classifier:
    return random_model(VIT, torch.float32)


def batches(run: Context, teacher: Classifier, *, tokens: bool = False) -> Epochs:
    return taught_batches(run, teacher, run.data.fit, run.data.labels, STAGE, tokens=tokens)


def epoch(run: Context, teacher: Classifier, index: int, seed: int = 0) -> list[Batch]:
    return list(batches(run, teacher).epoch(index, seed))


def key(batch: Batch) -> bytes:
    return batch.images.numpy().tobytes()


def test_they_are_what_the_teacher_says_of_these_very_images(
    tmp_path: Path, teacher: Classifier
) -> None:
    run = context(tmp_path)
    for index in range(PASSES):
        found = list(batches(run, teacher, tokens=True).epoch(index, index))
        assert sum(len(batch.images) for batch in found) == len(run.data.fit)
        for batch in found:
            assert batch.answers is not None
            with torch.no_grad():
                wanted = teacher(batch.images)
            logits = batch.answers.logits.float()
            torch.testing.assert_close(logits, wanted.logits[:, 0], rtol=1e-3, atol=1e-3)
            assert batch.answers.tokens is not None
            tokens = batch.answers.tokens.float()
            torch.testing.assert_close(tokens, wanted.tokens, rtol=1e-3, atol=1e-3)


def test_passes_differ_and_come_again_in_another_order(tmp_path: Path, teacher: Classifier) -> None:
    run = context(tmp_path)
    first, second, again = (epoch(run, teacher, k, seed=k) for k in (0, 1, PASSES))
    assert not {key(batch) for batch in first} & {key(batch) for batch in second}
    assert {key(batch) for batch in first} == {key(batch) for batch in again}
    assert [key(batch) for batch in first] != [key(batch) for batch in again]


def test_training_draws_the_same_random_numbers_as_without_them(
    tmp_path: Path, teacher: Classifier
) -> None:
    """Fixed changes leave torch's generator as it was: dropout stays random over the epochs."""
    run = context(tmp_path)
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    epoch(run, teacher, 0)
    assert torch.equal(torch.rand(4), wanted)


def test_the_teacher_is_asked_once(tmp_path: Path, teacher: Classifier) -> None:
    run = context(tmp_path)
    asked = 0

    def count(*_: object) -> None:
        nonlocal asked
        asked += 1

    teacher.register_forward_hook(count)
    epoch(run, teacher, 0)
    assert asked == len(batches(run, teacher)) == 4
    epoch(run, teacher, PASSES)
    epoch(context(tmp_path), teacher, 0, seed=9)  # another stage, or the same after a kill
    assert asked == 4
    epoch(run, teacher, 1)
    assert asked == 8
    cost = answers_result(run.shared)
    assert cost is not None
    assert cost.passes == 2
    assert cost.size == sum(file.stat().st_size for file in (tmp_path / FOLDER).iterdir())


def test_without_passes_there_are_none(tmp_path: Path, teacher: Classifier) -> None:
    made = recipe()
    made = replace(made, teacher=replace(made.teacher, passes=0))
    found = epoch(context(tmp_path, made), teacher, 0)
    assert all(batch.answers is None for batch in found)
    assert not (tmp_path / FOLDER).exists()
    assert answers_result(RunFolder(tmp_path)) is None


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("teacher", lambda path, _: (context(path), random_model(VIT))),
        ("images", lambda path, teacher: (context(path, fingerprint="g"), teacher)),
        ("seed", lambda path, teacher: (context(path, recipe(seed=43)), teacher)),
        (
            "augment",
            lambda path, teacher: (
                context(path, replace(recipe(), augment=AugmentConfig(flip=0.1))), teacher,
            ),
        ),
    ],
)  # fmt: skip
def test_those_of_something_else_are_refused_by_name(
    tmp_path: Path,
    teacher: Classifier,
    what: str,
    other: Callable[[Path, Classifier], tuple[Context, Classifier]],
) -> None:
    epoch(context(tmp_path), teacher, 0)
    run, asked = other(tmp_path, teacher)
    with pytest.raises(DataError, match=rf"are of another {what}; remove that folder"):
        epoch(run, asked, 0)


def test_a_damaged_file_is_refused_by_name(tmp_path: Path, teacher: Classifier) -> None:
    run = context(tmp_path)
    epoch(run, teacher, 0)
    (file,) = (tmp_path / FOLDER).iterdir()
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match=r"'pass0-.* cannot be used .* remove it"):
        epoch(run, teacher, 0)


def test_a_full_disk_leaves_nothing_behind_and_the_run_goes_on(
    tmp_path: Path, teacher: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = context(tmp_path)
    epoch(run, teacher, 0)
    before = list((tmp_path / FOLDER).iterdir())

    def fill(_: object, path: Path, *__: object) -> None:
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("devit_iot.decompose.run_folder.folder.save_file", fill)
        with pytest.raises(DataError, match=r"cannot be written .*No space.*it goes on from here"):
            epoch(run, teacher, 1)
    assert list((tmp_path / FOLDER).iterdir()) == before
    assert len(epoch(run, teacher, 1)) == 4


@pytest.mark.parametrize("kind", ["json", "state"])
def test_what_json_and_torch_write_to_a_full_disk(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"x.{kind}"
    path.write_text("old")
    path.with_suffix(".partial").symlink_to("/dev/full")
    content = {"x": torch.zeros(100_000)}

    def write(partial: Path) -> None:
        if kind == "json":
            partial.write_bytes(bytes(100_000))
        else:
            torch.save(content, partial)

    with pytest.raises(DataError, match=r"cannot be written .*it goes on from here"):
        write_whole(path, write)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "old"
