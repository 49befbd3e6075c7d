"""A trained fleet -> what :func:`devit_iot.bundle.writing.write_bundle` takes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from devit_iot.bundle.storage import Storage, as_stored
from devit_iot.bundle.writing import PartData
from devit_iot.decompose.network.fleet import FusionHead
from devit_iot.decompose.network.models import Classifier, SubVit
from devit_iot.export import reference
from devit_iot.export.fold import F32, F64, Normalisation, average_heads, fold_fusion, fold_sub_vit


class Exported(NamedTuple):
    """Engine tensors of all parts (golden pairs included) and of the fusion."""

    parts: list[PartData]
    fusion: dict[str, F32]


class Folding(NamedTuple):
    """What folding needs besides weights.

    Attributes:
        normalisation: the one used in training.
        golden: an image as it comes from the decoder, uint8[size, size, 3].
        storage: dtype of the matrices in the bundle.
        temperature: number by which the logits are divided.
    """

    normalisation: Normalisation
    golden: NDArray[np.uint8]
    storage: Storage = "float32"
    temperature: float = 1.0


def export_fleet(
    parts: Sequence[SubVit],
    head: FusionHead,
    groups: Sequence[tuple[int, ...]],
    mean_tokens: Sequence[Tensor],
    folding: Folding,
) -> Exported:
    """Fold the fleet.

    Args:
        parts: the trained parts.
        head: the fusion that was trained with them.
        groups: the classes of each part.
        mean_tokens: per part, the mean of its published tokens over training images,
            float[k, embed_dim]; from it comes what stands in for a lost part.
        folding: all else that folding needs.
    """
    maps, bias = head.class_maps()
    return _export(parts, maps, bias, groups, mean_tokens, folding)


def export_classifier(model: Classifier, mean_tokens: Tensor, folding: Folding) -> Exported:
    """Fold one network as a bundle of one part; a DeiT's heads are averaged."""
    state = state_float64(model.heads)
    heads = [(state[f"{k}.weight"], state[f"{k}.bias"]) for k in range(len(model.heads))]
    matrix, bias = average_heads(heads)
    group = tuple(range(model.classes))
    return _export([model.vit], [matrix], bias, [group], [mean_tokens], folding)


def state_float64(module: nn.Module) -> dict[str, F64]:
    """The module's parameters by name."""
    return {name: value.double().cpu().numpy() for name, value in module.state_dict().items()}


def _export(
    parts: Sequence[SubVit],
    maps: Sequence[F64],
    bias: F64,
    groups: Sequence[tuple[int, ...]],
    mean_tokens: Sequence[Tensor],
    folding: Folding,
) -> Exported:
    written, norms, means = [], [], []
    for model, group, mean in zip(parts, groups, mean_tokens, strict=True):
        weights = state_float64(model)
        folded = fold_sub_vit(model.spec, weights, folding.normalisation)
        tensors = as_stored(model.spec, folded, folding.storage)
        golden = reference.with_golden(model.spec, tensors, folding.golden)
        written.append(PartData(model.spec, group, golden, folding.storage))
        norms.append((weights["norm.weight"], weights["norm.bias"]))
        means.append(published(mean, model))
    cooled = [matrix / folding.temperature for matrix in maps]
    return Exported(written, fold_fusion(cooled, norms, bias / folding.temperature, means))


def published(tokens: Tensor, part: SubVit) -> F64:
    """The features that engines publish: z of tokens = g * z + s; where g is 0, nobody sees z.

    Args:
        tokens: float[..., k, embed_dim], of the last layer norm, g and s its scale and shift.
        part: the network that published the tokens.

    Returns:
        float64[..., k * embed_dim].
    """
    affine = (part.norm.weight, part.norm.bias)
    scale, shift = (value.detach().double().cpu().numpy() for value in affine)
    centred = tokens.double().cpu().numpy() - shift
    features: F64 = np.divide(centred, scale, out=np.zeros_like(centred), where=scale != 0)
    return features.reshape(*features.shape[:-2], -1)
