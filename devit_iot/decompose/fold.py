"""Trained weights -> engine tensors: everything that is linear and constant is multiplied out.

All in float64, rounded to float32 once at the end. Needs numpy only.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from devit_iot.spec import CHANNELS, BlockSpec, SubVitSpec

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]


class Normalisation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a network expects of its pixels: ``(uint8 / 255 - mean) / std``, per RGB channel."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def trained_shapes(spec: SubVitSpec) -> dict[str, tuple[int, ...]]:
    """Names (timm's) and shapes of a trained sub-ViT's parameters, without a classifier."""
    dim = spec.embed_dim
    shapes: dict[str, tuple[int, ...]] = {"cls_token": (1, 1, dim)}
    if spec.prefix_tokens == 2:  # noqa: PLR2004 - DeiT: class and distillation token
        shapes["dist_token"] = (1, 1, dim)
    shapes["pos_embed"] = (1, spec.tokens, dim)
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
    return shapes | {"norm.weight": (dim,), "norm.bias": (dim,)}


def fold_sub_vit(
    spec: SubVitSpec, weights: Mapping[str, F64], normalisation: Normalisation
) -> dict[str, F32]:
    """Fold a trained sub-ViT into the tensors of :func:`devit_iot.spec.tensors`.

    Args:
        spec: the shape of the sub-ViT.
        weights: the parameters of :func:`trained_shapes`; others are ignored.
        normalisation: applied to the pixels in training.

    Returns:
        float32 tensors by name. ``norm.weight`` and ``norm.bias`` belong to :func:`fold_fusion`.
    """
    patch_weight, patch_bias = _fold_patches(weights, normalisation)
    tokens = [weights["cls_token"], weights["dist_token"]] if "dist_token" in weights else []
    prefix = np.concatenate(tokens or [weights["cls_token"]], axis=1)[0]
    position = weights["pos_embed"][0].copy()
    position[: spec.prefix_tokens] += prefix
    position[spec.prefix_tokens :] += patch_bias
    folded = {"patch_embed.weight": patch_weight, "pos_embed": position}
    for index, block in enumerate(spec.blocks):
        folded |= _fold_block(f"blocks.{index}.", block, spec.head_dim, weights)
    return {name: np.ascontiguousarray(value, np.float32) for name, value in folded.items()}


def fold_fusion(
    maps: Sequence[F64],
    norms: Sequence[tuple[F64, F64]],
    bias: F64,
    mean_features: Sequence[F64],
) -> dict[str, F32]:
    """Fold the class maps with each part's last layer norm (see ``spec.fusion_tensors``).

    With f = g * z + s, W f + b = (W g) z + (b + W s), where z is the normalised prefix tokens.

    Args:
        maps: per part, W: float64[classes, prefix_tokens * embed_dim], METHOD's A and W multiplied.
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


def _fold_patches(weights: Mapping[str, F64], normalisation: Normalisation) -> tuple[F64, F64]:
    """W (u / 255 - mean) / std + b = W' u + b', with W' as float64[dim, rows * columns * RGB]."""
    mean, std = np.array(normalisation.mean), np.array(normalisation.std)
    kernel = weights["patch_embed.proj.weight"].transpose(0, 2, 3, 1) / std
    bias = weights["patch_embed.proj.bias"] - (kernel * mean).sum(axis=(1, 2, 3))
    return kernel.reshape(len(kernel), -1) / 255, bias


def _fold_block(
    prefix: str, block: BlockSpec, head_dim: int, weights: Mapping[str, F64]
) -> dict[str, F64]:
    qkv_weight, qkv_bias = _fold_norm(prefix + "norm1", prefix + "attn.qkv", weights)
    query_rows = block.heads * head_dim
    scale = head_dim**-0.5
    qkv_weight[:query_rows] *= scale
    qkv_bias[:query_rows] *= scale
    fc1_weight, fc1_bias = _fold_norm(prefix + "norm2", prefix + "mlp.fc1", weights)
    unchanged = ("attn.proj.weight", "attn.proj.bias", "mlp.fc2.weight", "mlp.fc2.bias")
    return {
        prefix + "attn.qkv.weight": qkv_weight,
        prefix + "attn.qkv.bias": qkv_bias,
        prefix + "mlp.fc1.weight": fc1_weight,
        prefix + "mlp.fc1.bias": fc1_bias,
        **{prefix + name: weights[prefix + name] for name in unchanged},
    }


def _fold_norm(norm: str, linear: str, weights: Mapping[str, F64]) -> tuple[F64, F64]:
    """W (g * z + s) + b = (W g) z + (b + W s)."""
    matrix = weights[linear + ".weight"]
    return (
        matrix * weights[norm + ".weight"],
        weights[linear + ".bias"] + matrix @ weights[norm + ".bias"],
    )
