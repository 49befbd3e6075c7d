"""A checkpoint -> a classifier of a given spec: tensors by name, other image sizes resampled."""

import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from devit_iot.bundle.spec import SubVitSpec
from devit_iot.decompose.network.models import Classifier
from devit_iot.errors import DataError
from devit_iot.export.fold import HEADS, PREFIX_TOKENS
from devit_iot.export.network import read_network

PATCHES = "patch_embed.proj.weight"
EXTRAS = ("pre_logits.", "fc_norm.", "attn_mask")
"""Prefixes of tensors that some checkpoints carry and no classifier here uses."""


def load_checkpoint(model: Classifier, path: Path) -> bool:
    """Copy the checkpoint ``path`` into ``model``.

    See :func:`devit_iot.export.network.read_network` for what is taken. The patch embedding is
    resampled to another patch size by :func:`resample_patches`, the position embedding to another
    grid bicubically. A checkpoint without distillation token lends its class token. The
    classifier's rows are taken only if their number fits.

    Returns:
        Whether every head was in the checkpoint; one that was not is as it was.

    Raises:
        DataError: the file cannot be read, or a tensor is missing, unknown or of another shape; the
            model is left as it was.
    """
    network = read_network(path)
    told = network.beside.heads
    inner = model.spec.blocks[0].heads * model.spec.head_dim
    if told is not None and told * model.spec.head_dim != inner:
        raise DataError(
            f"{path}: the file beside it says {told} attention heads, the recipe's model has "
            f"{model.spec.blocks[0].heads} of {model.spec.head_dim}: correct heads and head_dim"
        )
    stored = {name: torch.from_numpy(value).float() for name, value in network.tensors.items()}
    try:
        taken = _fit(model, stored)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    model.load_state_dict({**model.state_dict(), **taken})
    return all(f"heads.{name}" in taken for name in model.heads.state_dict())


def resample_patches(kernel: Tensor, size: int) -> Tensor:
    """Give patch kernels another size so that resized patches embed alike.

    The pseudo-inverse of the resize: FlexiViT (Beyer et al. 2023, eq. 4).

    Args:
        kernel: float[dim, channels, old, old].
        size: the new side, pixels.

    Returns:
        float[dim, channels, size, size].
    """
    old = kernel.shape[-1]
    if old == size:
        return kernel
    small, large = sorted((old, size))
    basis = torch.eye(small**2, dtype=torch.float64).view(-1, 1, small, small)
    grown = functional.interpolate(basis, (large, large), mode="bicubic").flatten(1)
    # To embed a small patch is to embed what it grows to; the other way round there is more than
    # one solution, and the pseudo-inverse takes the shortest.
    matrix = grown.T if size == small else torch.linalg.pinv(grown).T
    resampled = kernel.double().flatten(2) @ matrix
    return resampled.view(*kernel.shape[:2], size, size).to(kernel.dtype)


def resize_positions(positions: Tensor, prefix: int, grid: int) -> Tensor:
    """Give the patches' positions another grid, bicubically; prefix rows stay.

    Args:
        positions: float[1, prefix + old ** 2, dim].
        prefix: rows that belong to prefix tokens.
        grid: the new side of the square of patches.

    Raises:
        DataError: the patches form no square.
    """
    patches = positions[:, prefix:]
    old = math.isqrt(patches.shape[1])
    if old**2 != patches.shape[1] or old == 0:
        raise DataError(f"pos_embed of {positions.shape[1]} rows does not fit a square of patches")
    if old == grid:
        return positions
    square = patches.transpose(1, 2).reshape(1, -1, old, old)
    resized = functional.interpolate(
        square, (grid, grid), mode="bicubic", antialias=True, align_corners=False
    )
    return torch.cat([positions[:, :prefix], resized.flatten(2).transpose(1, 2)], dim=1)


def _fit(model: Classifier, stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors to copy, by the model's names."""
    body = model.vit.state_dict()
    _adapt(model.spec, stored)
    taken = {f"vit.{name}": _shaped(stored, name, tuple(body[name].shape)) for name in body}
    heads = {f"{head}.{kind}" for head in HEADS for kind in ("weight", "bias")}
    unknown = [name for name in stored.keys() - body.keys() - heads if not name.startswith(EXTRAS)]
    if unknown:
        raise DataError(f"'{min(unknown)}' ({len(unknown)} such tensors) is no part of the model")
    for index, head in enumerate(model.heads):
        for kind, parameter in head.state_dict().items():
            value = stored.get(f"{HEADS[index]}.{kind}")
            if value is not None and value.shape == parameter.shape:
                taken[f"heads.{index}.{kind}"] = value
    for name, value in taken.items():
        if not value.isfinite().all():
            raise DataError(f"tensor '{name}' holds NaN or infinity")
    return taken


def _adapt(spec: SubVitSpec, stored: dict[str, Tensor]) -> None:
    """Bring tokens, patches and positions to what ``spec`` asks for."""
    positions = _axes(stored, "pos_embed", 3)
    first, second = PREFIX_TOKENS
    if spec.prefix_tokens == len(PREFIX_TOKENS) and first in stored and second not in stored:
        stored[second] = stored[first]
        stored["pos_embed"] = torch.cat([positions[:, :1], positions], dim=1)
    if spec.prefix_tokens == 1 and stored.pop(second, None) is not None:
        stored["pos_embed"] = torch.cat([positions[:, :1], positions[:, 2:]], dim=1)
    if spec.patch_size:
        kernel = _axes(stored, PATCHES, 4)
        if not 0 < kernel.shape[2] == kernel.shape[3]:
            raise DataError(f"tensor '{PATCHES}' has shape {tuple(kernel.shape)}, not square")
        stored[PATCHES] = resample_patches(kernel, spec.patch_size)
    stored["pos_embed"] = resize_positions(
        stored["pos_embed"], spec.prefix_tokens, math.isqrt(spec.patches)
    )


def _shaped(stored: dict[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    value = _tensor(stored, name)
    if value.shape != shape:
        raise DataError(
            f"tensor '{name}' has shape {tuple(value.shape)}, the recipe's model has {shape}"
        )
    return value


def _axes(stored: dict[str, Tensor], name: str, axes: int) -> Tensor:
    value = _tensor(stored, name)
    if value.ndim != axes:
        raise DataError(f"tensor '{name}' has shape {tuple(value.shape)}, expected {axes} axes")
    return value


def _tensor(stored: dict[str, Tensor], name: str) -> Tensor:
    if name not in stored:
        raise DataError(f"no tensor '{name}'; the checkpoint is of another kind of network")
    return stored[name]
