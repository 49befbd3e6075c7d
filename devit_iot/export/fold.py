"""Trained weights -> engine tensors: everything that is linear and constant is multiplied out.

All in float64, rounded to float32 once at the end. Needs numpy only.
"""

from collections.abc import Container, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.spec import CHANNELS, SubVitSpec

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]

PREFIX_TOKENS = ("cls_token", "dist_token")
"""The tokens before the patches, in their order: a ViT has the first, a DeiT both, a CCT none."""
HEADS = ("head", "head_dist")
"""The classifiers of the published tokens, in their order; a CCT's pooled token has the first."""


class Normalisation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a network expects of its pixels: ``(uint8 / 255 - mean) / std``, per RGB channel."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def prefix_names(spec: SubVitSpec) -> tuple[str, ...]:
    """The names of the prefix tokens that a network has."""
    return PREFIX_TOKENS[: spec.prefix_tokens]


def head_names(spec: SubVitSpec) -> tuple[str, ...]:
    """The names of the classifiers that a network has, one for each published token."""
    return HEADS[: max(1, spec.prefix_tokens)]


def prefix_tokens_in(weights: Container[str]) -> int:
    """How many prefix tokens trained parameters have, by their names."""
    return sum(name in weights for name in PREFIX_TOKENS)


def trained_shapes(spec: SubVitSpec) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a trained sub-ViT's parameters, without a classifier.

    They are timm's; a CCT's convolutions are ``tokenizer.<i>`` and its sequence pooling is
    ``pool``. Other spellings are translated by :mod:`devit_iot.export.names`.
    """
    dim = spec.embed_dim
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(prefix_names(spec), (1, 1, dim))
    shapes["pos_embed"] = (1, spec.tokens, dim)
    if spec.tokenizer:
        channels = CHANNELS
        for index, layer in enumerate(spec.tokenizer):
            kernel = (layer.kernel_size, layer.kernel_size)
            shapes[f"tokenizer.{index}.weight"] = (layer.channels, channels, *kernel)
            channels = layer.channels
    else:
        shapes["patch_embed.proj.weight"] = (dim, CHANNELS, spec.patch_size, spec.patch_size)
        shapes["patch_embed.proj.bias"] = (dim,)
    for index, block in enumerate(spec.blocks):
        inner = block.heads * spec.head_dim
        prefix = f"blocks.{index}."
        shapes |= {
            prefix + "norm1.weight": (dim,),
            prefix + "norm1.bias": (dim,),
            prefix + "attn.qkv.weight": (3 * inner, dim),
            prefix + "attn.qkv.bias": (3 * inner,),
            prefix + "attn.proj.weight": (dim, inner),
            prefix + "attn.proj.bias": (dim,),
            prefix + "norm2.weight": (dim,),
            prefix + "norm2.bias": (dim,),
            prefix + "mlp.fc1.weight": (block.mlp_dim, dim),
            prefix + "mlp.fc1.bias": (block.mlp_dim,),
            prefix + "mlp.fc2.weight": (dim, block.mlp_dim),
            prefix + "mlp.fc2.bias": (dim,),
        }
    shapes |= {"norm.weight": (dim,), "norm.bias": (dim,)}
    return shapes | ({"pool.weight": (1, dim), "pool.bias": (1,)} if spec.tokenizer else {})


def fold_sub_vit(
    spec: SubVitSpec, weights: Mapping[str, F64], normalisation: Normalisation
) -> dict[str, F32]:
    """Fold a trained sub-ViT into the tensors of :func:`devit_iot.bundle.spec.tensors`.

    Args:
        spec: the shape of the sub-ViT.
        weights: the parameters of :func:`trained_shapes`; others are ignored.
        normalisation: applied to the pixels in training.

    Returns:
        float32 tensors by name. ``norm.weight`` and ``norm.bias`` belong to :func:`fold_fusion`.
    """
    if spec.tokenizer:
        folded = _fold_tokenizer(spec, weights, normalisation)
    else:
        folded = _fold_patches(spec, weights, normalisation)
    for index in range(len(spec.blocks)):
        folded |= _fold_block(spec, index, weights)
    if spec.tokenizer:
        # w (g * z + s) + b = (w g) z + a constant, which a softmax over the tokens ignores.
        folded["pool.weight"] = weights["pool.weight"][0] * weights["norm.weight"]
    return {name: np.ascontiguousarray(value, np.float32) for name, value in folded.items()}


def average_heads(heads: Sequence[tuple[F64, F64]]) -> tuple[F64, F64]:
    """One linear map of the whole feature that gives the mean of the heads' logits.

    A DeiT's class scores are that mean (Touvron et al. 2021, section 5.2).

    Args:
        heads: weight and bias of each published token's classifier, float64[classes, embed_dim] and
            float64[classes].

    Returns:
        float64[classes, feature_dim] and float64[classes].
    """
    matrix = np.concatenate([weight / len(heads) for weight, _ in heads], axis=1)
    bias: F64 = np.sum([bias / len(heads) for _, bias in heads], axis=0)
    return matrix, bias


def fold_fusion(
    maps: Sequence[F64],
    norms: Sequence[tuple[F64, F64]],
    bias: F64,
    mean_features: Sequence[F64],
) -> dict[str, F32]:
    """Fold the class maps with each part's last layer norm (see ``FusionSpec.tensors``).

    With f = g * z + s, W f + b = (W g) z + (b + W s), where z is the normalised prefix tokens, or
    their pooled sum: the weights of a sum that add up to 1 leave g and s what they are.

    Args:
        maps: per part, W: float64[classes, feature_dim], W A_i of docs/method.md, eq. 14.
        norms: per part, g and s: ``norm.weight`` and ``norm.bias``, float64[embed_dim].
        bias: float64[classes].
        mean_features: per part, the mean of z over the training data.
    """
    total = bias.copy()
    folded = {}
    for index, (matrix, (scale, shift), mean) in enumerate(
        zip(maps, norms, mean_features, strict=True)
    ):
        repeats = matrix.shape[1] // scale.size
        weight = matrix * np.tile(scale, repeats)
        total += matrix @ np.tile(shift, repeats)
        folded[f"parts.{index}.weight"] = weight
        folded[f"parts.{index}.mean"] = weight @ mean
    return {name: value.astype(np.float32) for name, value in {"bias": total, **folded}.items()}


def _fold_patches(
    spec: SubVitSpec, weights: Mapping[str, F64], normalisation: Normalisation
) -> dict[str, F64]:
    """W (u / 255 - mean) / std + b = W' u + b', with W' as float64[dim, rows * columns * RGB]."""
    mean, std = np.array(normalisation.mean), np.array(normalisation.std)
    kernel = weights["patch_embed.proj.weight"].transpose(0, 2, 3, 1) / std
    bias = weights["patch_embed.proj.bias"] - (kernel * mean).sum(axis=(1, 2, 3))
    position = weights["pos_embed"][0].copy()
    for row, token in enumerate(prefix_names(spec)):
        position[row] += weights[token][0, 0]
    position[spec.prefix_tokens :] += bias
    return {"patch_embed.weight": kernel.reshape(len(kernel), -1) / 255, "pos_embed": position}


def _fold_tokenizer(
    spec: SubVitSpec, weights: Mapping[str, F64], normalisation: Normalisation
) -> dict[str, F64]:
    """W (u / 255 - mean) / std = W' (u - 255 mean): zero padding, which comes after, stays zero."""
    kernels = [weights[f"tokenizer.{i}.weight"] for i in range(len(spec.tokenizer))]
    kernels = [kernel.transpose(0, 2, 3, 1) for kernel in kernels]
    kernels[0] = kernels[0] / (255 * np.array(normalisation.std))
    return {
        "tokenizer.offset": 255 * np.array(normalisation.mean),
        **{f"tokenizer.{i}.weight": kernel for i, kernel in enumerate(kernels)},
        "pos_embed": weights["pos_embed"][0],
    }


def _fold_block(spec: SubVitSpec, index: int, weights: Mapping[str, F64]) -> dict[str, F64]:
    prefix = f"blocks.{index}."
    qkv_weight, qkv_bias = _fold_norm(prefix + "norm1", prefix + "attn.qkv", weights)
    query_rows = spec.blocks[index].heads * spec.head_dim
    scale = spec.head_dim**-0.5
    qkv_weight[:query_rows] *= scale
    qkv_bias[:query_rows] *= scale
    folded = {prefix + "attn.qkv.weight": qkv_weight, prefix + "attn.qkv.bias": qkv_bias}
    unchanged = ["attn.proj", "mlp.fc2"]
    if spec.residual_norm:  # the residual stream needs the norm's scale and shift as well
        unchanged += ["norm2", "mlp.fc1"]
    else:
        fc1_weight, fc1_bias = _fold_norm(prefix + "norm2", prefix + "mlp.fc1", weights)
        folded |= {prefix + "mlp.fc1.weight": fc1_weight, prefix + "mlp.fc1.bias": fc1_bias}
    for name in unchanged:
        for kind in (".weight", ".bias"):
            folded[prefix + name + kind] = weights[prefix + name + kind]
    return folded


def _fold_norm(norm: str, linear: str, weights: Mapping[str, F64]) -> tuple[F64, F64]:
    """W (g * z + s) + b = (W g) z + (b + W s): docs/method.md, eq. 16."""
    matrix = weights[linear + ".weight"]
    return (
        matrix * weights[norm + ".weight"],
        weights[linear + ".bias"] + matrix @ weights[norm + ".bias"],
    )
