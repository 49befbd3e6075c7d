from pathlib import Path

import pytest

from devit_iot.decompose.recipe import load_recipe
from devit_iot.errors import ConfigError

SHIPPED = Path(__file__).parents[2] / "devit_iot/decompose/recipes/digits.toml"


def test_a_shipped_recipe_is_found_by_name_and_by_path() -> None:
    by_name, base = load_recipe("digits")
    by_path, _ = load_recipe(str(SHIPPED))
    assert by_name == by_path
    assert base == SHIPPED.parent
    assert by_name.work == 4 * (by_name.sub_task.epochs + by_name.joint.epochs)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rotate_deg", "rotate", r"unknown field `rotate`|missing required field `rotate_deg`"),
        ("seed = 42", "seed = 42\nspeed = 1", "unknown field `speed`"),
        ("part_dropout = 0.35", "part_dropout = 1.0", r"part_dropout"),
        ("patch_size = 8", "patch_size = 7", "patch_size"),
        ("image_size = 32\nresize_size = 32\n", "image_size = 16\nresize_size = 32\n", "same"),
        ("seed = 42", "seed = ", "Invalid value"),
    ],
)
def test_mistakes_name_the_file_and_the_key(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SHIPPED.read_text().replace(old, new, 1))
    with pytest.raises(ConfigError, match=message) as caught:
        load_recipe(str(path))
    assert str(path) in str(caught.value)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"one of: digits"):
        load_recipe("cifar1000")
