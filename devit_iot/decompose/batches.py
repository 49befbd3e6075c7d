"""Shuffled, augmented, normalised mini-batches."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from devit_iot.decompose.data import ImageSet
from devit_iot.decompose.fold import Normalisation
from devit_iot.decompose.recipe import AugmentConfig


class Batches:
    """One epoch per iteration, in a new order each time.

    Args:
        data: decoded images.
        normalisation: the one that export folds into the patch embedding.
        augment: of the images.
        batch: images per batch; the last batch may be smaller.
        seed: decides order and augmentation.
    """

    def __init__(
        self,
        data: ImageSet,
        normalisation: Normalisation,
        augment: AugmentConfig,
        *,
        batch: int,
        seed: int,
    ) -> None:
        self._images = torch.from_numpy(data.images).permute(0, 3, 1, 2)
        self._labels = torch.from_numpy(data.labels)
        self._mean = torch.tensor(normalisation.mean).view(3, 1, 1)
        self._std = torch.tensor(normalisation.std).view(3, 1, 1)
        self._augment = augment
        self._batch = batch
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return math.ceil(len(self._labels) / self._batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield float32[batch, 3, size, size] and int64[batch]."""
        order = torch.randperm(len(self._labels), generator=self._generator)
        for rows in torch.split(order, self._batch):
            images = affine(self._images[rows].float(), self._augment, self._generator)
            yield (images / 255 - self._mean) / self._std, self._labels[rows]


def affine(images: Tensor, augment: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Rotate, scale and shift each image at random; what comes in from outside repeats the edge.

    Args:
        images: float32[batch, channels, size, size].
        augment: the ranges.
        generator: the source of randomness.
    """
    count = len(images)
    spread = torch.rand(4, count, generator=generator) * 2 - 1
    angle = spread[0] * math.radians(augment.rotate_deg)
    scale = 1 + spread[1] * augment.scale
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    shift = spread[2:] * augment.shift * 2  # grid coordinates run from -1 to 1
    rows = [cosine, -sine, shift[0], sine, cosine, shift[1]]
    theta = torch.stack(rows, dim=1).view(count, 2, 3)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
