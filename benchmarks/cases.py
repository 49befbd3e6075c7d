"""What a latency benchmark compares: a teacher and the parts that stand for it."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from devit_iot.bench.models import random_array, random_image, random_tensors
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import BlockSpec, FusionSpec, SubVitSpec, macs
from devit_iot.bundle.writing import PartData, write_bundle
from devit_iot.decompose.recipe import Recipe, load_recipe
from devit_iot.decompose.shrinking.budget import MULTIPLE, Budget
from devit_iot.engine.base import Engine, load_engine
from devit_iot.engine.native import NativeEngine
from devit_iot.errors import ConfigError
from devit_iot.export.fold import F32
from devit_iot.export.reference import with_golden

CLASSES = {"imagenet": 1000, "cars": 196, "cifar100": 100, "flowers102": 102, "digits": 10}


class Case(NamedTuple):
    """One teacher and its fleet.

    Attributes:
        parts: the fleet's shapes, one per device.
        bundles: the teacher's and the fleet's, whose weights are taken; None for random weights.
    """

    name: str
    teacher: SubVitSpec
    parts: tuple[SubVitSpec, ...]
    classes: int
    bundles: tuple[Bundle, Bundle] | None = None

    def part_engines(self) -> list[tuple[SubVitSpec, Engine]]:
        """Engines on one thread: one for each part, or for each shape where weights are random."""
        if self.bundles is not None:
            fleet = self.bundles[1]
            return [
                (s, load_engine(fleet.read_part(i), threads=1)) for i, s in enumerate(self.parts)
            ]
        different = dict.fromkeys(self.parts)
        return [
            (spec, NativeEngine(spec, random_tensors(spec, seed), threads=1, isa=""))
            for seed, spec in enumerate(different, start=1)
        ]


def recipe_case(name: str) -> Case:
    """The geometries of a recipe.

    Raises:
        ConfigError: no such recipe, or its number of classes is not known.
    """
    recipe, _ = load_recipe(name)
    if recipe.data.source not in CLASSES:
        raise ConfigError(
            f"recipe '{name}' has the data source '{recipe.data.source}'; the number of classes is "
            f"known of {', '.join(CLASSES)}"
        )
    parts = tuple(part_spec(recipe, part) for part in range(recipe.partition.parts))
    classes = CLASSES[recipe.data.source]
    return Case(recipe.name, recipe.teacher.model, parts, classes)


def bundle_case(fleet: Path, teacher: Path) -> Case:
    """A fleet's bundle against its teacher's, a bundle of one part."""
    many, one = Bundle(fleet), Bundle(teacher)
    if len(one.manifest.parts) != 1:
        raise ConfigError(f"{teacher} has {len(one.manifest.parts)} parts; a teacher is one")
    if len(many.manifest.classes) != len(one.manifest.classes):
        raise ConfigError(f"{fleet} and {teacher} do not know equally many classes")
    parts = tuple(part.spec for part in many.manifest.parts)
    classes = len(many.manifest.classes)
    return Case(many.manifest.name, one.part(0).spec, parts, classes, bundles=(one, many))


def part_spec(recipe: Recipe, part: int) -> SubVitSpec:
    """A part of the recipe's budget whose layers all keep the same share of heads and neurons.

    The search for a policy shifts heads and neurons between layers, at the same total.

    Raises:
        ConfigError: no such share comes close to the budget.
    """
    template = (recipe.student or recipe.teacher).model
    budget = Budget(template, recipe.macs_budget(part) / macs(template))
    even = np.ones(len(template.blocks))
    draft = budget.fit(even, even)
    if draft is None:
        raise ConfigError(f"recipe '{recipe.name}': no even share of its layers fits part {part}")
    counts = zip(draft.heads.tolist(), draft.neurons.tolist(), strict=True)
    blocks = tuple(BlockSpec(heads, neurons) for heads, neurons in counts)
    small = msgspec.structs.replace(template, blocks=blocks)
    small.validate()
    return small


def stand_in_fleet(path: Path, feature_dims: tuple[int, ...], classes: int) -> Bundle:
    """A fleet whose messages and fusion are as large as the real one's, and that computes nothing.

    Each part is one block on one patch of 8 pixels.
    """
    rng = np.random.default_rng(0)
    parts = []
    for index, dim in enumerate(feature_dims):
        spec = SubVitSpec(
            image_size=8, resize_size=8, patch_size=8, embed_dim=dim, head_dim=4, prefix_tokens=1,
            blocks=(BlockSpec(1, MULTIPLE),),
        )  # fmt: skip
        tensors = with_golden(spec, random_tensors(spec, index), random_image(spec))
        parts.append(PartData(spec, tuple(range(index, classes, len(feature_dims))), tensors))
    shape = FusionSpec(classes, feature_dims)
    fusion: Mapping[str, F32] = {t.name: random_array(rng, t.shape) for t in shape.tensors()}
    names = [f"class-{index}" for index in range(classes)]
    return write_bundle(
        path, name="stand-in", classes=names, parts=parts, fusion=fusion, provenance={}
    )
