"""A trained timm, DeiT or CCT checkpoint -> a bundle of one part. Needs numpy only, no torch."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import POOL_STRIDE, BlockSpec, ConvSpec, SubVitSpec
from devit_iot.bundle.writing import PartData, write_bundle
from devit_iot.datasets.class_names import distinct
from devit_iot.errors import DataError
from devit_iot.export.beside import Beside
from devit_iot.export.checkpoint import Weights
from devit_iot.export.fold import (
    F64,
    PREFIX_TOKENS,
    Normalisation,
    average_heads,
    fold_fusion,
    fold_sub_vit,
    head_names,
    prefix_tokens_in,
    trained_shapes,
)
from devit_iot.export.heads import Heads, head_dim
from devit_iot.export.network import read_network
from devit_iot.export.prepared import Prepared, chosen, described
from devit_iot.export.reference import with_golden

IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
GOLDEN_SEED = 20230911
NORM_EPS, COMPACT_NORM_EPS = 1e-6, 1e-5
CLEARLY = 0.4
"""By so much must positions look more like rows of another length to show that they are no square:
random ones differ by 0.2 at most, those of trained networks by 0.5 and more."""


class ImportOptions(NamedTuple):
    """The user's word, which wins over what stands in and beside the weights.

    Attributes:
        head_dim: width of one attention head.
        prepared: how images become squares.
        normalisation: mean and deviation of the pixels in training.
        image_size: side of the square input, pixels.
        heads: attention heads of each block.
        weights: name of the set to take, where a file holds two.
    """

    head_dim: int | None = None
    prepared: Prepared = Prepared()
    normalisation: Normalisation | None = None
    image_size: int | None = None
    heads: int | None = None
    weights: Weights = "ema"


class Imported(NamedTuple):
    """A new bundle, and what was taken from where, for people."""

    bundle: Bundle
    notes: tuple[str, ...]


def import_checkpoint(
    path: Path,
    classes: Sequence[str] | None,
    output: Path,
    *,
    name: str,
    options: ImportOptions,
) -> Imported:
    """Fold the checkpoint ``path`` and write it as a bundle of one part.

    Args:
        path: what :func:`devit_iot.export.network.read_network` takes.
        classes: one name per row of the classifier, two for a single logit; None takes those
            beside the weights.
        output: the bundle's folder, to be created.
        name: the bundle's name.
        options: the user's word.

    Raises:
        DataError: the file cannot be read, or is no such network, or has other classes.
        BundleError: ``output`` exists already.
    """
    network = read_network(path, options.weights)
    beside, weights = network.beside, network.tensors
    notes = list(network.notes)
    names = tuple(classes) if classes is not None else beside.classes
    if names is None:
        raise DataError(f"{path}: nothing beside it names its classes; give --classes")
    names = distinct(names)
    try:
        spec, said = describe(weights, options, beside)
        weights = _two_classes(spec, weights, len(names))
        check_tensors(spec, weights, len(names))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    normalisation = options.normalisation or beside.normalisation or IMAGENET
    notes += said
    notes.append(_pixels(normalisation, options, beside))
    tensors = fold_sub_vit(spec, weights, normalisation)
    norm = (weights["norm.weight"], weights["norm.bias"])
    matrix, bias = average_heads(
        [(weights[f"{head}.weight"], weights[f"{head}.bias"]) for head in head_names(spec)]
    )
    no_data = np.zeros(spec.feature_dim)  # the only part has no other to stand in for it
    part = PartData(
        spec, tuple(range(len(names))), with_golden(spec, tensors, golden_image(spec.image_size))
    )
    bundle = write_bundle(
        output,
        name=name,
        classes=names,
        parts=[part],
        fusion=fold_fusion([matrix], [norm], bias, [no_data]),
        provenance={"imported_from": path.name},
    )
    return Imported(bundle, tuple(notes))


def _pixels(normalisation: Normalisation, options: ImportOptions, beside: Beside) -> str:
    values = f"mean {_three(normalisation.mean)}, deviation {_three(normalisation.std)}"
    if options.normalisation is not None:
        return f"pixels: {values} (--mean, --std)"
    if beside.normalisation is not None:
        return f"pixels: {values} (the file beside it)"
    return (
        f"pixels: {values} are ASSUMED, since nothing beside it says how it was trained; another "
        "one costs accuracy (--mean, --std)"
    )


def _three(values: tuple[float, float, float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def describe(
    weights: Mapping[str, F64], options: ImportOptions, beside: Beside
) -> tuple[SubVitSpec, list[str]]:
    """The shape of a network, and where each size that its tensors do not tell is known from.

    Raises:
        DataError: as :func:`infer_spec`.
    """
    spec, heads = infer_spec(weights, options, beside)
    counts = sorted({block.heads for block in spec.blocks})
    said = [f"attention: {', '.join(map(str, counts))} heads of {spec.head_dim} ({heads.origin})"]
    said.append(described(spec, options.prepared, beside.prepared))
    return spec, said


def _two_classes(spec: SubVitSpec, weights: Mapping[str, F64], classes: int) -> dict[str, F64]:
    """A single logit z, trained with a sigmoid -> logits 0 and z, whose softmax it is.

    Raises:
        DataError: not two names are given for it.
    """
    head = _tensor(weights, "head.weight", 2)
    if len(head) != 1:
        return dict(weights)
    if classes != 2 or len(head_names(spec)) != 1:  # noqa: PLR2004 - yes and no
        raise DataError(
            f"its classifier has one logit: it tells two classes by a sigmoid, so give two names, "
            f"first the one that 0 stands for; got {classes}"
        )
    bias = _tensor(weights, "head.bias", 1)
    both = {
        "head.weight": np.concatenate([np.zeros_like(head), head]),
        "head.bias": np.concatenate([np.zeros_like(bias), bias]),
    }
    return {**weights, **both}


def infer_spec(
    weights: Mapping[str, F64], options: ImportOptions, beside: Beside
) -> tuple[SubVitSpec, Heads]:
    """Read the shape of a network off its tensors.

    Args:
        weights: tensors by the names of :func:`devit_iot.export.fold.trained_shapes`.
        options: the user's word.
        beside: what else tells what they cannot.

    Raises:
        DataError: a tensor that every such network has is missing, or the shapes fit none.
        SpecError: the shapes fit a network that engines do not run.
    """
    if "tokenizer.0.weight" in weights:
        return _infer_cct(weights, options, beside)
    position = _tensor(weights, "pos_embed", 3)
    kernel = _tensor(weights, "patch_embed.proj.weight", 4)
    _tensor(weights, PREFIX_TOKENS[0], 3)
    prefix_tokens = prefix_tokens_in(weights)
    grid = _grid(position[0, prefix_tokens:], prefix_tokens)
    image_size = grid * kernel.shape[2]
    stated = options.image_size or beside.image_size
    if stated not in {None, image_size}:
        raise DataError(
            f"its positions are of {image_size} x {image_size} pixels, not of {stated} x {stated}"
        )
    heads = _head_dim(weights, kernel.shape[0], options, beside, compact=False)
    resize_size, resize = chosen(image_size, options.prepared, beside.prepared)
    spec = SubVitSpec(
        image_size=image_size,
        resize_size=resize_size,
        patch_size=kernel.shape[2],
        embed_dim=kernel.shape[0],
        head_dim=heads.head_dim,
        prefix_tokens=prefix_tokens,
        blocks=tuple(_infer_blocks(weights, heads.head_dim)),
        norm_eps=beside.norm_eps or NORM_EPS,
        resize=resize,
    )
    spec.validate()
    return spec, heads


def _head_dim(
    weights: Mapping[str, F64], width: int, options: ImportOptions, beside: Beside, *, compact: bool
) -> Heads:
    rows = _tensor(weights, "blocks.0.attn.qkv.weight", 2).shape[0]
    if rows % 3:
        raise DataError(f"blocks.0.attn.qkv.weight of {rows} rows is not Q, K and V")
    depth = 0
    while f"blocks.{depth}.attn.qkv.weight" in weights:
        depth += 1
    return head_dim(
        rows // 3,
        (width, depth),
        compact=compact,
        fixed_positions=is_sine_cosine(weights["pos_embed"]),
        told=beside.heads,
        asked=options.heads,
        asked_dim=options.head_dim,
    )


def is_sine_cosine(positions: F64) -> bool:
    """Whether positions were computed and never trained (He et al. 2022, MAE).

    The first quarter of each row but the class token's are sines, the second one their cosines.
    """
    quarter = positions.shape[-1] // 4
    rows = positions[0, 1:]
    squares = rows[:, :quarter] ** 2 + rows[:, quarter : 2 * quarter] ** 2
    return squares.size > 0 and bool(np.allclose(squares, 1, atol=0.01))


def _grid(positions: F64, prefix_tokens: int) -> int:
    """Side of the square of patches.

    Raises:
        DataError: they make none, or are alike at the distance of another row's length.
    """
    count = len(positions)
    grid = math.isqrt(count)
    if grid == 0 or grid**2 != count:
        raise DataError(
            f"pos_embed of {count + prefix_tokens} rows does not fit {prefix_tokens} prefix tokens "
            "and a square of patches"
        )
    lengths = [width for width in range(2, count // 2 + 1) if count % width == 0]
    alike = {width: _likeness(positions, width) for width in lengths}
    best = max(alike, key=alike.__getitem__, default=grid)
    if grid in alike and alike[best] > alike[grid] + CLEARLY and count // best != best:
        raise DataError(
            f"its {count} positions look like {count // best} rows of {best} patches: only square "
            "inputs can be computed"
        )
    return grid


def _likeness(positions: F64, width: int) -> float:
    """How much positions look like rows of ``width``: by the cosine between neighbours.

    Lower neighbours are alike, and so are the next ones in a row; where a row ends they are not.
    """
    centred = positions - positions.mean(axis=0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1), 1e-12)[:, None]
    lower = (unit[:-width] * unit[width:]).sum(axis=1).mean()
    following = (unit[:-1] * unit[1:]).sum(axis=1)
    ends = np.arange(1, len(positions)) % width == 0
    return float(lower + following[~ends].mean() - following[ends].mean())


def _infer_cct(
    weights: Mapping[str, F64], options: ImportOptions, beside: Beside
) -> tuple[SubVitSpec, Heads]:
    """Compact Transformers: strides, paddings and the norms' epsilon are its builders' defaults."""
    tokenizer: list[ConvSpec] = []
    while f"tokenizer.{len(tokenizer)}.weight" in weights:
        kernel = _tensor(weights, f"tokenizer.{len(tokenizer)}.weight", 4)
        side = kernel.shape[2]
        tokenizer.append(ConvSpec(kernel.shape[0], side, max(1, side // 2 - 1), max(1, side // 2)))
    positions = _tensor(weights, "pos_embed", 3).shape[1]
    image_size = options.image_size or _largest_image(tokenizer, math.isqrt(positions))
    width = tokenizer[-1].channels
    heads = _head_dim(weights, width, options, beside, compact=True)
    resize_size, resize = chosen(image_size, options.prepared, beside.prepared)
    spec = SubVitSpec(
        image_size=image_size,
        resize_size=resize_size,
        patch_size=0,
        embed_dim=width,
        head_dim=heads.head_dim,
        prefix_tokens=0,
        blocks=tuple(_infer_blocks(weights, heads.head_dim)),
        norm_eps=COMPACT_NORM_EPS,
        tokenizer=tuple(tokenizer),
        residual_norm=True,
        resize=resize,
    )
    spec.validate()
    if spec.tokens != positions:
        raise DataError(
            f"pos_embed of {positions} rows does not fit the {spec.tokens} tokens that the "
            f"tokenizer makes of an image of {image_size} pixels"
        )
    return spec, heads


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
                f"{head_dim}; give the right --heads"
            )
        mlp_dim = _tensor(weights, prefix + "mlp.fc1.weight", 2).shape[0]
        blocks.append(BlockSpec(rows // (3 * head_dim), mlp_dim))
    return blocks


def check_tensors(spec: SubVitSpec, weights: Mapping[str, F64], classes: int) -> None:
    """Raise DataError unless the checkpoint is exactly a network of ``spec`` and a classifier."""
    expected = trained_shapes(spec)
    for head in head_names(spec):
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
            f"no tensor '{name}': it has no classifier; fine-tune it, or let devit decompose do so"
            if name.startswith("head")
            else f"no tensor '{name}': not a ViT or DeiT by the names of timm, Hugging Face or "
            "torchvision, nor a CCT of Compact Transformers (others, such as Swin, cannot be "
            "imported)"
        )
    if value.ndim != dimensions or 0 in value.shape:
        raise DataError(f"tensor '{name}' has shape {value.shape}, expected {dimensions} axes")
    return value
