"""Too few images, and whatever else would end a run late, ends it before the teacher is trained."""

import re
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from devit_iot.datasets.source import ImageSource, hold_out
from devit_iot.decompose.recipe import Recipe, load_recipe
from devit_iot.decompose.stages.enough import check_classes, check_parts
from devit_iot.decompose.stages.partition import partition
from devit_iot.errors import ConfigError, DataError
from tests.support.fleets import image_file
from tests.support.small_run import RECIPE, failure, run


def folders(path: Path, **counts: int) -> None:
    """Class folders of so many images."""
    for seed, (name, count) in enumerate(counts.items()):
        (path / name).mkdir(parents=True)
        for index in range(count):
            (path / name / f"{index}.png").write_bytes(image_file(100 * seed + index))


def source(**counts: int) -> ImageSource:
    labels = np.repeat(np.arange(len(counts)), list(counts.values()))
    names = tuple(f"{label}/{index}.png" for index, label in enumerate(labels))
    return ImageSource("pets", tuple(counts), names, labels, lambda _index, _count: b"")


def recipe(tmp_path: Path, text: str = RECIPE) -> Recipe:
    (tmp_path / "small.toml").write_text(text)
    return load_recipe(str(tmp_path / "small.toml"))[0]


def check(asked: Recipe, train: ImageSource, processes: int = 1) -> None:
    fit, _ = hold_out(train.labels, asked.data.held_out, asked.seed)
    check_parts(asked, train, fit, processes)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"cat": 3, "dog": 3}, "class 'cat' of .* has 1 image to learn from beside those held out"),
        ({"cat": 2, "dog": 9}, "class 'cat' of .* has one image to train on, too few to hold out"),
        ({"cat": 2, "dog": 2}, r"class 'cat' of .* \(and 1 more\) has one image to train on"),
        ({"cat": 1, "dog": 9}, "class 'cat' of .* has one image, too few to train and to test"),
    ],
)
@pytest.mark.parametrize("method", ["joint", "dekd"])
def test_too_few_images_end_a_run_before_its_teacher_is_trained(
    tmp_path: Path, counts: dict[str, int], message: str, method: str
) -> None:
    folders(tmp_path / "images", **counts)
    (tmp_path / "small.toml").write_text(RECIPE)
    assert re.search(message, failure(run(tmp_path, "run", "--method", method)))
    assert not list((tmp_path / "run").glob("teacher*"))


def test_two_images_to_learn_from_are_enough(tmp_path: Path) -> None:
    """Three to train on, of which one is held out; and one for the test."""
    folders(tmp_path / "images", cat=4, dog=4)
    (tmp_path / "small.toml").write_text(RECIPE)
    found = run(tmp_path, "run", "--parts", "2")
    assert found.exit_code == 0, found.output


def test_a_part_that_is_not_cut_needs_one_image(tmp_path: Path) -> None:
    asked = recipe(tmp_path)
    train = source(cat=2, dog=2)
    with pytest.raises(DataError, match="cut by 2 at least"):
        check(asked, train)
    check(replace(asked, shrink=replace(asked.shrink, macs=(1.0,))), train)


def test_only_classes_that_may_be_alone_need_two(tmp_path: Path) -> None:
    """By the seed it is known which they are; by similarity it may be any."""
    train = source(ant=9, bee=9, cat=2)
    asked = recipe(tmp_path)
    by_seed = replace(asked, partition=replace(asked.partition, by="seed"))
    alone = [
        group for seed in range(9) for group in partition(3, 2, seed) if len(group) == 1
    ]  # some of them are of class 2
    for seed, (label,) in enumerate(alone):
        if label == 2:
            with pytest.raises(DataError, match="class 'cat' of pets has 1 image"):
                check(replace(by_seed, seed=seed), train)
        else:
            check(replace(by_seed, seed=seed), train)
    assert {label for (label,) in alone} == {0, 1, 2}
    with pytest.raises(DataError, match="class 'cat' of pets has 1 image"):
        check(asked, train)
    check(replace(asked, partition=replace(asked.partition, parts=1)), train)


def test_every_process_needs_an_image_of_every_part(tmp_path: Path) -> None:
    asked, train = recipe(tmp_path), source(ant=4, bee=40)
    check(asked, train, processes=3)
    with pytest.raises(DataError, match=r"part 0 has 3 images of pets .* for 4 processes"):
        check(asked, train, processes=4)


def test_a_single_image_is_named_by_its_class() -> None:
    with pytest.raises(DataError, match="class 'bee' of pets has one image"):
        check_classes(source(ant=2, bee=1))
    check_classes(source(ant=2, bee=2))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("images = 12", "images = 1", "Expected `int` >= 2 - at `$.shrink.images`"),
        ('name = "small"', 'name = "sm\\tall"', "some that cannot be printed"),
        ('name = "small"', f'name = "{"x" * 249}"', "is too long for a bundle"),
    ],
)
def test_what_would_fail_last_fails_first(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        recipe(tmp_path, RECIPE.replace(old, new))
    assert message in str(caught.value)


@pytest.mark.parametrize("option", ["--data", "--checkpoint", "--folder"])
def test_a_path_that_no_file_can_hold_is_refused_at_once(tmp_path: Path, option: str) -> None:
    (tmp_path / "small.toml").write_text(RECIPE)
    said = failure(run(tmp_path, "run", option, str(tmp_path / "caf\udce9")))
    assert "is not UTF-8; rename it" in said
