"""A trained timm, DeiT or CCT checkpoint -> a bundle of one part. Needs numpy only, no torch."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle import Bundle, PartData, write_bundle
from devit_iot.decompose.checkpoint import read_checkpoint
from devit_iot.decompose.fold import (
    F64,
    Normalisation,
    fold_fusion,
    fold_sub_vit,
    trained_shapes,
)
from devit_iot.decompose.names import internal_names
from devit_iot.decompose.reference import with_golden
from devit_iot.errors import DataError
from devit_iot.spec import POOL_STRIDE, BlockSpec, ConvSpec, SubVitSpec

IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
GOLDEN_SEED = 20230911
COMPACT_NORM_EPS = 1e-5


class ImportOptions(NamedTuple):
    """What a checkpoint does not say about itself.

    Attributes:
        head_dim: width of one attention head; 64 in every published ViT and DeiT.
        resize_size: short side before the centre crop, pixels; None means 8/7 of the image size.
        normalisation: of the pixels in training.
        image_size: of a CCT, pixels; None means the largest that gives its number of tokens.
    """

    head_dim: int = 64
    resize_size: int | None = None
    normalisation: Normalisation = IMAGENET
    image_size: int | None = None


def import_checkpoint(
    path: Path, classes: Sequence[str], output: Path, *, name: str, options: ImportOptions
) -> Bundle:
    """Fold the checkpoint ``path`` and write it as a bundle of one part.

    Args:
        path: ``.safetensors``, ``.pth`` or ``.pt``, with the tensor names of timm, DeiT or
            Compact Transformers.
        classes: one name per row of the classifier.
        output: the bundle's folder, to be created.
        name: the bundle's name.
        options: what the file cannot tell.

    Raises:
        DataError: the file cannot be read, or is no such network, or has other classes.
        BundleError: ``output`` exists already.
    """
    weights = internal_names(read_checkpoint(path))
    try:
        spec = infer_spec(weights, options)
        _check_tensors(spec, weights, len(classes))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    tensors = fold_sub_vit(spec, weights, options.normalisation)
    norm = (weights["norm.weight"], weights["norm.bias"])
    matrix, bias = _classifier(spec, weights)
    no_data = np.zeros(spec.feature_dim)  # the only part has no other to stand in for it
    part = PartData(
        spec, tuple(range(len(classes))), with_golden(spec, tensors, golden_image(spec.image_size))
    )
    return write_bundle(
        output,
        name=name,
        classes=classes,
        parts=[part],
        fusion=fold_fusion([matrix], [norm], bias, [no_data]),
        provenance={"imported_from": path.name},
    )


def infer_spec(weights: Mapping[str, F64], options: ImportOptions) -> SubVitSpec:
    """Read the shape of a network off its tensors.

    Args:
        weights: with the names of :func:`devit_iot.decompose.fold.trained_shapes`.
        options: what they cannot tell.

    Raises:
        DataError: a tensor that every such network has is missing, or the shapes fit none.
        SpecError: the shapes fit a network that engines do not run.
    """
    if "tokenizer.0.weight" in weights:
        return _infer_cct(weights, options)
    position = _tensor(weights, "pos_embed", 3)
    kernel = _tensor(weights, "patch_embed.proj.weight", 4)
    _tensor(weights, "cls_token", 3)
    prefix_tokens = 2 if "dist_token" in weights else 1
    grid = math.isqrt(max(0, position.shape[1] - prefix_tokens))
    if grid == 0 or grid**2 != position.shape[1] - prefix_tokens:
        raise DataError(
            f"pos_embed of {position.shape[1]} rows does not fit {prefix_tokens} prefix tokens and "
            "a square of patches"
        )
    image_size = grid * kernel.shape[2]
    spec = SubVitSpec(
        image_size=image_size,
        resize_size=options.resize_size or round(image_size * 8 / 7),
        patch_size=kernel.shape[2],
        embed_dim=kernel.shape[0],
        head_dim=options.head_dim,
        prefix_tokens=prefix_tokens,
        blocks=tuple(_infer_blocks(weights, options.head_dim)),
    )
    spec.validate()
    return spec


def _infer_cct(weights: Mapping[str, F64], options: ImportOptions) -> SubVitSpec:
    """Compact Transformers: strides, paddings and the norms' epsilon are its builders' defaults."""
    tokenizer: list[ConvSpec] = []
    while f"tokenizer.{len(tokenizer)}.weight" in weights:
        kernel = _tensor(weights, f"tokenizer.{len(tokenizer)}.weight", 4)
        side = kernel.shape[2]
        tokenizer.append(ConvSpec(kernel.shape[0], side, max(1, side // 2 - 1), max(1, side // 2)))
    positions = _tensor(weights, "pos_embed", 3).shape[1]
    image_size = options.image_size or _largest_image(tokenizer, math.isqrt(positions))
    spec = SubVitSpec(
        image_size=image_size,
        resize_size=options.resize_size or round(image_size * 8 / 7),
        patch_size=0,
        embed_dim=tokenizer[-1].channels,
        head_dim=options.head_dim,
        prefix_tokens=0,
        blocks=tuple(_infer_blocks(weights, options.head_dim)),
        norm_eps=COMPACT_NORM_EPS,
        tokenizer=tuple(tokenizer),
        residual_norm=True,
    )
    spec.validate()
    if spec.tokens != positions:
        raise DataError(
            f"pos_embed of {positions} rows does not fit the {spec.tokens} tokens that the "
            f"tokenizer makes of an image of {image_size} pixels"
        )
    return spec


def _largest_image(tokenizer: Sequence[ConvSpec], grid: int) -> int:
    """Side of the largest square of pixels that becomes ``grid`` rows of tokens."""
    for layer in reversed(tokenizer):
        convolved = POOL_STRIDE * grid  # the largest that pools to ``grid`` rows
        grid = convolved * layer.stride + layer.kernel_size - 1 - 2 * layer.padding
    return grid


def golden_image(size: int) -> NDArray[np.uint8]:
    """A picture of smooth gradients and noise: uint8[size, size, 3], always the same."""
    ramp = np.linspace(0, 200, size)
    planes = np.stack(
        [np.tile(ramp, (size, 1)), np.tile(ramp, (size, 1)).T, np.add.outer(ramp, ramp[::-1]) / 2],
        axis=-1,
    )
    noise = np.random.default_rng(GOLDEN_SEED).uniform(0, 55, planes.shape)
    return (planes + noise).astype(np.uint8)


def _infer_blocks(weights: Mapping[str, F64], head_dim: int) -> list[BlockSpec]:
    blocks: list[BlockSpec] = []
    while not blocks or f"blocks.{len(blocks)}.attn.qkv.weight" in weights:
        prefix = f"blocks.{len(blocks)}."
        rows = _tensor(weights, prefix + "attn.qkv.weight", 2).shape[0]
        if rows % (3 * head_dim):
            raise DataError(
                f"{prefix}attn.qkv.weight of {rows} rows is not a whole number of heads of "
                f"{head_dim}; give the right --head-dim"
            )
        mlp_dim = _tensor(weights, prefix + "mlp.fc1.weight", 2).shape[0]
        blocks.append(BlockSpec(rows // (3 * head_dim), mlp_dim))
    return blocks


def _check_tensors(spec: SubVitSpec, weights: Mapping[str, F64], classes: int) -> None:
    """Raise DataError unless the checkpoint is exactly a network of ``spec`` and a classifier."""
    expected = trained_shapes(spec)
    for head in _heads(spec):
        rows = _tensor(weights, head + ".weight", 2).shape[0]
        if rows != classes:
            raise DataError(f"{head} has {rows} classes, but {classes} names were given")
        expected |= {f"{head}.weight": (classes, spec.embed_dim), f"{head}.bias": (classes,)}
    if unexpected := sorted(weights.keys() - expected.keys()):
        raise DataError(
            f"'{unexpected[0]}' ({len(unexpected)} such tensors) is no part of a plain ViT, "
            "DeiT or CCT; this variant cannot be imported"
        )
    for name, shape in expected.items():
        found = _tensor(weights, name, len(shape))
        if found.shape != shape:
            raise DataError(f"tensor '{name}' has shape {found.shape}, expected {shape}")
        if not np.isfinite(found).all():
            raise DataError(f"tensor '{name}' holds NaN or infinity")


def _tensor(weights: Mapping[str, F64], name: str, dimensions: int) -> F64:
    value = weights.get(name)
    if value is None:
        raise DataError(
            f"no tensor '{name}': not a ViT or DeiT with timm's names, nor a CCT of Compact "
            "Transformers (others, such as Swin, cannot be imported)"
        )
    if value.ndim != dimensions or 0 in value.shape:
        raise DataError(f"tensor '{name}' has shape {value.shape}, expected {dimensions} axes")
    return value


def _heads(spec: SubVitSpec) -> tuple[str, ...]:
    return ("head", "head_dist")[: max(1, spec.prefix_tokens)]


def _classifier(spec: SubVitSpec, weights: Mapping[str, F64]) -> tuple[F64, F64]:
    """One matrix over the whole feature. DeiT averages its two heads (Touvron et al. 2021, 5.2)."""
    heads = _heads(spec)
    matrix = np.concatenate([weights[head + ".weight"] / len(heads) for head in heads], axis=1)
    bias: F64 = np.sum([weights[head + ".bias"] / len(heads) for head in heads], axis=0)
    return matrix, bias
