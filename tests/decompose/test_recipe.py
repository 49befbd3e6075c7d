"""Shipped recipes load, make sense and run; mistakes in a recipe are named."""

import functools
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import BlockSpec, SubVitSpec, macs
from devit_iot.decompose.launch import Launch, launch
from devit_iot.decompose.recipe import (
    ImitationConfig,
    NetworkConfig,
    Recipe,
    StageConfig,
    load_recipe,
)
from devit_iot.engine.image import load_image
from devit_iot.errors import ConfigError

RECIPES = Path(__file__).parents[2] / "devit_iot/decompose/recipes"
SHIPPED = RECIPES / "digits.toml"
NAMES = sorted(path.stem for path in RECIPES.glob("*.toml"))
LARGE = [name for name in NAMES if name != "digits"]


def test_a_shipped_recipe_is_found_by_name_and_by_path() -> None:
    by_name, here = load_recipe("digits")
    by_path, base = load_recipe(str(SHIPPED))
    assert by_name == by_path
    assert base == SHIPPED.parent
    assert here == Path()  # the data of a shipped recipe lie where its user is


@pytest.mark.parametrize("name", NAMES)
def test_shipped_recipes_keep_to_the_papers_budget(name: str) -> None:
    recipe, _ = load_recipe(name)
    assert recipe.name == name
    template = (recipe.student or recipe.teacher).model
    for part in range(recipe.partition.parts):
        assert recipe.macs_budget(part) <= 0.3 * macs(template)
        assert recipe.macs_budget(part) <= 0.3 * macs(recipe.teacher.model)


def tiny(spec: SubVitSpec) -> SubVitSpec:
    """The same kind of network, as small as can be."""
    return replace(
        spec,
        image_size=32,
        resize_size=36,
        patch_size=8 if spec.patch_size else 0,
        embed_dim=16,
        head_dim=4,
        blocks=(BlockSpec(4, 64),) * 2,
        tokenizer=tuple(replace(layer, channels=16) for layer in spec.tokenizer),
    )


def shortened(stage: StageConfig | None) -> StageConfig:
    """One epoch of whatever the recipe does; what had no training starts from scratch here."""
    stage = stage or StageConfig(epochs=1, learning_rate=1e-3)
    return replace(stage, epochs=1, batch=8, warmup_epochs=0.5)


T = TypeVar("T", bound=ImitationConfig)


def stand_in(recipe: Recipe) -> Recipe:
    def network(config: NetworkConfig) -> NetworkConfig:
        short = {"model": tiny(config.model), "train": shortened(config.train), "checkpoint": ""}
        return replace(config, **short)

    def stage(config: T | None) -> T | None:
        return config and replace(config, train=shortened(config.train))

    return replace(
        recipe,
        time="",
        data=replace(recipe.data, source="images", held_out=0.25),
        teacher=replace(network(recipe.teacher), part=shortened(recipe.teacher.part)),
        student=recipe.student and network(recipe.student),
        partition=replace(recipe.partition, parts=2),
        shrink=replace(recipe.shrink, macs=(0.6,), candidates=3, images=8),
        joint=stage(recipe.joint),
        distill=stage(recipe.distill),
        ensemble=stage(recipe.ensemble),
    )


@pytest.mark.parametrize("name", LARGE)
def test_the_large_recipes_run_on_stand_in_images(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 2)):
        for label in range(3):
            folder = tmp_path / "images" / split / f"class {label}"
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 256, (50, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.jpg")
    recipe = stand_in(load_recipe(name)[0])
    spec = replace(recipe.teacher.model, image_size=recipe.teacher.model.resize_size)
    decode = functools.partial(load_image, spec=spec)
    how = Launch(tmp_path, tmp_path / "run", decode, "test", cpu=True)
    report = launch(recipe, "run", how)
    assert report is not None
    bundle = Bundle(report.parent / "bundle")
    bundle.verify()
    assert len(bundle.manifest.parts) == 2
    assert bundle.manifest.parts[0].dtype == recipe.storage


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rotate_deg", "rotate", "unknown key 'augment.rotate'; did you mean 'augment.rotate_deg'"),
        ("seed = 42", "seed = 42\nspeed = 1", "unknown key 'speed'; did you mean"),
        ("part_dropout = 0.3", "part_dropout = 1.0", "part_dropout"),
        ("patch_size = 8", "patch_size = 7", "patch_size"),
        ("macs = [0.3]", "macs = [0.3, 0.2]", "2 budgets for 4 parts"),
        ("macs = [0.3]", "macs = [1.3]", "macs"),
        ("depth = 4", "depth = 0", "depth must be 1"),
        ("[teacher.train]", "[teacher.part]", "neither a checkpoint nor"),
        ("seed = 42", "seed = ", "Invalid value"),
        ("seed = 42", "seed = -1", "seed"),
        ("seed = 42", "seed = 100000000", "seed"),
        ("macs = [0.3]", "macs = [0.01]", "a part costs at least"),
        ("parts = 4", "parts = 256", "parts"),
        ("[augment]", "[augment]\nmixup = 0.8\ncutmix = 0.5", "exceed 1 together"),
        ("[augment]", "[augment]\nrand_augment = 30", "rand_augment"),
    ],
)
def test_mistakes_name_the_file_and_the_key(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = tmp_path / "mine.toml"
    text = SHIPPED.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message) as caught:
        load_recipe(str(path))
    assert str(path) in str(caught.value)


def test_relations_need_tokens_that_pair_up() -> None:
    recipe, _ = load_recipe("flowers-deit")
    model = replace(recipe.teacher.model, prefix_tokens=1)
    student = NetworkConfig(model, recipe.teacher.train)
    with pytest.raises(ConfigError, match="teacher has 51 tokens and the student 50"):
        replace(recipe, student=student).validate()
    assert recipe.distill is not None
    unrelated = replace(recipe.distill, relations=(0.0, 0.0, 0.0))
    replace(recipe, student=student, distill=unrelated).validate()


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"one of: cars, cifar100-cct, .*digits"):
        load_recipe("cifar1000")
