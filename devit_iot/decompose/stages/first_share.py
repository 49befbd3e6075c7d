"""How the work of joint training is shared between the part that learns first and all of them."""

import msgspec

from devit_iot.decompose.recipe import Recipe, StageConfig
from devit_iot.errors import ConfigError


def first_stage(recipe: Recipe) -> StageConfig | None:
    """How the first part is trained alone; None if all parts learn together from the beginning.

    An epoch of one part costs as much as an epoch of all, divided by their number.
    """
    joint, parts = recipe.joint, recipe.partition.parts
    if recipe.method != "joint" or joint is None or not joint.first or parts == 1:
        return None
    return _shortened(joint.train, joint.train.epochs * joint.first * parts)


def joint_stage(recipe: Recipe) -> StageConfig:
    """How all parts are trained together, with the work that the first part left.

    Raises:
        ConfigError: the recipe has no joint training.
    """
    joint = recipe.joint
    if joint is None:
        raise ConfigError("the recipe has no [joint.train]")
    if first_stage(recipe) is None:
        return joint.train
    return _shortened(joint.train, joint.train.epochs * (1 - joint.first))


def _shortened(config: StageConfig, epochs: float) -> StageConfig:
    count = max(1, round(epochs))
    warmup = min(config.warmup_epochs, count / 4)
    return msgspec.structs.replace(config, epochs=count, warmup_epochs=warmup)
