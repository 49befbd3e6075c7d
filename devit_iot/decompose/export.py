"""Trained parts and fusion -> what :func:`devit_iot.bundle.write_bundle` takes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from devit_iot.bundle import PartData
from devit_iot.decompose import reference
from devit_iot.decompose.fold import F32, F64, Normalisation, fold_fusion, fold_sub_vit
from devit_iot.decompose.models import FusionHead, SubVit


class Exported(NamedTuple):
    """Engine tensors of all parts (golden pairs included) and of the fusion."""

    parts: list[PartData]
    fusion: dict[str, F32]


def export(
    models: Sequence[SubVit],
    head: FusionHead,
    groups: Sequence[tuple[int, ...]],
    images: NDArray[np.uint8],
    normalisation: Normalisation,
) -> Exported:
    """Fold the fleet. Mean contributions come from a pass over ``images``; the first is golden.

    Args:
        models: the trained parts.
        head: the trained fusion.
        groups: the classes of each part.
        images: training images as they come from the decoder, uint8[count, size, size, 3].
        normalisation: the one used in training.
    """
    parts, norms, means = [], [], []
    for model, group in zip(models, groups, strict=True):
        weights = state_float64(model)
        tensors = fold_sub_vit(model.spec, weights, normalisation)
        features = reference.features(model.spec, tensors, images)
        norms.append((weights["norm.weight"], weights["norm.bias"]))
        means.append(features.mean(axis=0))
        golden = reference.with_golden(model.spec, tensors, images[0])
        parts.append(PartData(model.spec, group, golden))
    maps, bias = head.class_maps()
    return Exported(parts, fold_fusion(maps, norms, bias, means))


def state_float64(module: nn.Module) -> dict[str, F64]:
    """The parameters of ``module`` by name."""
    return {name: value.double().numpy() for name, value in module.state_dict().items()}
