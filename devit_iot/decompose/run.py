"""A whole decomposition: data -> groups -> parts -> fusion -> bundle."""

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import torch

from devit_iot.bundle import Bundle, write_bundle
from devit_iot.decompose import reference
from devit_iot.decompose.batches import Batches
from devit_iot.decompose.data import Decode, ImageSet, Sample, decode_images, read_image_folder
from devit_iot.decompose.digits import read_digits
from devit_iot.decompose.ensemble import train_ensemble
from devit_iot.decompose.evaluate import Evaluation, evaluate
from devit_iot.decompose.export import export
from devit_iot.decompose.partition import partition
from devit_iot.decompose.recipe import Recipe, StageConfig
from devit_iot.decompose.train import train_sub_task
from devit_iot.errors import BundleError, DataError

Progress = Callable[[str, int, float], None]
"""Called after each epoch: what was trained, its cost in part-epochs, its mean loss."""


class Result(NamedTuple):
    """What a decomposition leaves behind."""

    bundle: Bundle
    evaluation: Evaluation
    joint_losses: list[float]


def decompose(
    recipe: Recipe,
    base: Path,
    output: Path,
    *,
    decode: Decode,
    command: str,
    progress: Progress,
) -> Result:
    """Run ``recipe`` and write its bundle; the same recipe gives the same bytes on one machine.

    Args:
        recipe: what to do.
        base: folder that the recipe's relative paths start from.
        output: the bundle's folder, to be created.
        decode: image bytes -> pixels, as on the devices.
        command: recorded in the bundle's provenance.
        progress: told about every epoch.

    Raises:
        ConfigError: the recipe does not fit its data, or the training diverged.
        DataError: the images cannot be used.
        BundleError: ``output`` exists already.
    """
    if output.exists():  # before the training, not after it
        raise BundleError(f"{output} exists already; remove it or choose another output")
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    train = decode_images(read_source(recipe.data.train, base), decode)
    test = decode_images(read_source(recipe.data.test, base), decode)
    if train.classes != test.classes:
        differing = sorted(set(train.classes) ^ set(test.classes))
        raise DataError(f"training and test data differ in their classes: {', '.join(differing)}")
    groups = partition(len(train.classes), len(recipe.parts), recipe.seed)
    models = []
    for index, (spec, group) in enumerate(zip(recipe.parts, groups, strict=True)):
        batches = _batches(recipe, train, recipe.sub_task, stage_index=index)
        on_epoch = functools.partial(progress, f"part {index}", 1)
        models.append(
            train_sub_task(spec, group, len(train.classes), batches, recipe.sub_task, on_epoch)
        )
    head, losses = train_ensemble(
        models,
        len(train.classes),
        _batches(recipe, train, recipe.joint, stage_index=len(models)),
        recipe.joint,
        recipe.ensemble,
        functools.partial(progress, "fleet", len(models)),
    )
    exported = export(models, head, groups, train.images, recipe.data.normalisation)
    features = [reference.features(p.spec, p.tensors, test.images) for p in exported.parts]
    evaluation = evaluate(features, exported.fusion, test.labels)
    bundle = write_bundle(
        output,
        name=recipe.name,
        classes=train.classes,
        parts=exported.parts,
        fusion=exported.fusion,
        provenance={
            "command": command,
            "test_data": recipe.data.test,
            "test_top1": f"{evaluation.whole:.4f}",
            "torch": str(torch.__version__),
        },
    )
    return Result(bundle, evaluation, losses)


def read_source(source: str, base: Path) -> Iterable[Sample]:
    """The images that a recipe's ``data.train`` or ``data.test`` names."""
    if source in {"digits:train", "digits:test"}:
        return read_digits(held_out=source == "digits:test")
    return read_image_folder(base / source)


def _batches(recipe: Recipe, data: ImageSet, stage: StageConfig, *, stage_index: int) -> Batches:
    return Batches(
        data,
        recipe.data.normalisation,
        recipe.augment,
        batch=stage.batch,
        seed=recipe.seed + stage_index,
    )
