"""The recipe of a decomposition: a TOML file, decoded into frozen structs."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated

import msgspec

from devit_iot.decompose.fold import Normalisation
from devit_iot.errors import ConfigError, SpecError
from devit_iot.spec import SubVitSpec

Positive = Annotated[int, msgspec.Meta(ge=1)]
PositiveFloat = Annotated[float, msgspec.Meta(gt=0)]
NonNegativeFloat = Annotated[float, msgspec.Meta(ge=0)]
Probability = Annotated[float, msgspec.Meta(ge=0, lt=1)]


class DataConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the images are.

    Attributes:
        train: ``digits:train``, or an ImageFolder tree or zip, relative to the recipe.
        test: ``digits:test``, or the same for the images held out of all training.
        normalisation: of the pixels, for every part.
    """

    train: str
    test: str
    normalisation: Normalisation


class AugmentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Random affine maps of the training images, each parameter uniform in plus or minus.

    Attributes:
        rotate_deg: rotation, degrees.
        scale: relative change of size.
        shift: translation, fraction of the image side.
    """

    rotate_deg: NonNegativeFloat
    scale: Probability
    shift: NonNegativeFloat


class StageConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One training stage: AdamW, linear warm-up, then cosine decay to zero."""

    epochs: Positive
    warmup_epochs: NonNegativeFloat
    batch: Positive
    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat


class EnsembleConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the joint training adds to a stage.

    Attributes:
        hidden: length of METHOD's h, between A and W.
        part_dropout: probability that an image loses a given part.
    """

    hidden: Positive
    part_dropout: Probability


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that decides a decomposition. ``threads`` is part of it: sums depend on it."""

    name: str
    seed: int
    threads: Positive
    data: DataConfig
    augment: AugmentConfig
    sub_task: StageConfig
    joint: StageConfig
    ensemble: EnsembleConfig
    parts: tuple[SubVitSpec, ...]

    @property
    def work(self) -> int:
        """Cost of the training in part-epochs: one part trained for one epoch."""
        return len(self.parts) * (self.sub_task.epochs + self.joint.epochs)

    def validate(self) -> None:
        """Raise ConfigError unless all parts can look at the same image and be fused."""
        if not self.parts:
            raise ConfigError("a recipe needs at least one [[parts]]")
        for part in self.parts:
            part.validate()
        inputs = {(p.image_size, p.resize_size, p.prefix_tokens) for p in self.parts}
        if len(inputs) > 1:
            raise ConfigError(
                "all parts must have the same image_size, resize_size and prefix_tokens"
            )


def load_recipe(name: str) -> tuple[Recipe, Path]:
    """Read the shipped recipe ``name``, or the one at the path ``name``.

    Returns:
        The recipe, and the folder that its relative paths start from.

    Raises:
        ConfigError: no such recipe, an unknown key or a bad value.
    """
    shipped = Path(str(resources.files("devit_iot.decompose") / "recipes"))
    path = Path(name) if name.endswith(".toml") else shipped / f"{name}.toml"
    try:
        recipe = msgspec.convert(tomllib.loads(path.read_text("utf-8")), Recipe)
        recipe.validate()
    except OSError as error:
        names = ", ".join(sorted(file.stem for file in shipped.glob("*.toml")))
        raise ConfigError(
            f"no recipe '{name}' ({error.strerror}); give the path of a .toml file, or one of: "
            f"{names}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from error
    except (ConfigError, SpecError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return recipe, path.parent
