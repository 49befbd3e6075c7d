"""A recipe's ``resize`` decides how training images are decoded, as it does on the devices."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from devit_iot.bundle.spec import Resize, View
from devit_iot.cli.decompose import decompose
from devit_iot.decompose.launch import Launch
from devit_iot.decompose.recipe import Recipe, load_recipe
from devit_iot.engine.image import load_image
from devit_iot.errors import ConfigError
from tests.support.fleets import image_file
from tests.support.small_run import RECIPE

SQUASHED = RECIPE.replace(
    "patch_size = 8", 'patch_size = 8\nresize = { fit = "squash", filter = "bilinear" }'
)


def test_training_images_are_squashed_as_on_the_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small.toml").write_text(SQUASHED)
    seen: list[tuple[Recipe, Launch]] = []

    def launch(recipe: Recipe, _stage: str, how: Launch) -> None:
        seen.append((recipe, how))

    monkeypatch.setattr("devit_iot.decompose.launch.launch", launch)
    for views in ("whole", "grid"):
        done = CliRunner().invoke(
            decompose, ["run", str(tmp_path / "small.toml"), "--views", views]
        )
        assert done.exit_code == 0, done.output
    payload = image_file(1, size=(150, 70))
    whole, grid = (how.decode(payload) for _, how in seen)
    spec = seen[0][0].teacher.model
    assert spec.resized == Resize("squash", "bilinear")
    np.testing.assert_array_equal(whole, load_image(payload, spec))
    corner = replace(spec, view=View(0.0, 0.0, 0.75, 0.75))
    np.testing.assert_array_equal(grid[:32, :32], load_image(payload, corner))


def test_teacher_and_student_must_resize_alike(tmp_path: Path) -> None:
    student = tomllib.loads(RECIPE)["teacher"]["model"]
    lines = "\n".join(f"{key} = {value}" for key, value in plain(student).items())
    text = f"{SQUASHED}\n[student.model]\n{lines}\n[student.train]\nepochs = 1\nlearning_rate = 1.0"
    (tmp_path / "small.toml").write_text(text)
    with pytest.raises(ConfigError, match="image_size, resize_size and resize"):
        load_recipe(str(tmp_path / "small.toml"))


def plain(model: dict[str, Any]) -> dict[str, Any]:
    return {**model, "blocks": "[{ heads = 4, mlp_dim = 64 }]"}
