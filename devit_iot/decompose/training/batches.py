"""Shuffled mini-batches of one training stage, shared out over the devices."""

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from devit_iot.decompose.training.augment import Augment


class Answers(NamedTuple):
    """What the teacher says of a batch.

    Attributes:
        logits: mean over the teacher's heads, float[batch, classes].
        tokens: tokens below the teacher's heads, float[batch, k, embed_dim]; None where nobody
            learns from them.
    """

    logits: Tensor
    tokens: Tensor | None = None


class Batch(NamedTuple):
    """What a training step learns from.

    Attributes:
        images: squared, changed and normalised, float[batch, 3, side, side].
        labels: int64[batch], or float[batch, 3] of mixed images.
        answers: the teacher's answers, where they are stored.
    """

    images: Tensor
    labels: Tensor
    answers: Answers | None = None


class Epochs(Protocol):
    """Batches of every epoch of a stage."""

    def __len__(self) -> int:
        """Batches of one epoch."""

    def epoch(self, index: int, seed: int) -> Iterator[Batch]:
        """The batches of epoch ``index``; their order follows from ``seed``."""


class Pixels(Protocol):
    """Decoded images, in memory or decoded when they are asked for."""

    def __len__(self) -> int:
        """Number of images."""

    def take(self, rows: NDArray[np.int64]) -> Tensor:
        """uint8[len(rows), size, size, 3], on any device."""


class Batches:
    """A labelled set of images, iterated in a new order every epoch.

    Args:
        pixels: where the images come from.
        labels: labels of all of ``pixels``, int64[count].
        rows: the images of this stage.
        augment: makes the images' random changes, and normalises them.
        batch: images per step, over all devices together; the last step may have fewer.
        device: where batches go.
        share: this process and the number of processes that train together.
    """

    def __init__(
        self,
        pixels: Pixels,
        labels: NDArray[np.int64],
        rows: NDArray[np.int64],
        augment: Augment,
        *,
        batch: int,
        device: torch.device,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self._pixels = pixels
        self._labels = labels
        self._rows = rows
        self._augment = augment.to(device)
        self._batch = batch
        self._device = device
        self._rank, self._world = share

    def __len__(self) -> int:
        full, rest = divmod(len(self._rows), self._batch)
        return full + (rest >= self._world)

    @property
    def sizes(self) -> list[int]:
        """Images of each batch that are this process's, in the order of any shuffling."""
        return [len(step) for step in self._shuffled(0)]

    def epoch(self, index: int, seed: int) -> Iterator[Batch]:  # noqa: ARG002 - all are alike
        """Augmented images and labels, see :class:`devit_iot.decompose.training.augment.Augment`.

        The order follows from ``seed``, the changes from torch's own generator.
        """
        for images, labels in self._load(self._shuffled(seed)):
            yield Batch(*self._augment(images, labels))

    def fixed(self, seed: int, places: Sequence[int]) -> Iterator[Batch]:
        """The batches ``places`` of one shuffling: whenever asked, the same images and changes.

        Args:
            seed: decides the shuffling, and the changes of each of its batches.
            places: indices of batches below ``len(self)``, in the order in which they are wanted.
        """
        steps = self._shuffled(seed)
        loaded = self._load([steps[place] for place in places])
        devices = [] if self._device.type == "cpu" else [self._device]
        for place, (images, labels) in zip(places, loaded, strict=True):
            with torch.random.fork_rng(devices, device_type=self._device.type):
                torch.manual_seed((seed * len(steps) + place) * self._world + self._rank)
                changed = self._augment(images, labels)
            yield Batch(*changed)

    def _shuffled(self, seed: int) -> list[NDArray[np.int64]]:
        """This process's rows of each batch."""
        order = np.random.default_rng(seed).permutation(self._rows)
        steps = [order[i : i + self._batch] for i in range(0, len(order), self._batch)]
        if len(steps[-1]) < self._world:  # no process may go without an image
            steps.pop()
        return [step[self._rank :: self._world] for step in steps]

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image once, unchanged but normalised, and its label; in every process."""
        steps = [self._rows[i : i + self._batch] for i in range(0, len(self._rows), self._batch)]
        for images, labels in self._load(steps):
            yield self._augment.normalise(images), labels

    def _load(self, steps: list[NDArray[np.int64]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Read one step ahead of the one that is used."""
        with ThreadPoolExecutor(1) as reader:
            ready = reader.submit(self._pixels.take, steps[0])
            for rows, following in itertools.zip_longest(steps, steps[1:]):
                pixels = ready.result()
                if following is not None:
                    ready = reader.submit(self._pixels.take, following)
                images = pixels.to(self._device).permute(0, 3, 1, 2)
                yield images, torch.from_numpy(self._labels[rows]).to(self._device)
