"""What every stage of a run needs, built once from the recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from devit_iot.decompose.recipe import Recipe
from devit_iot.decompose.run_folder.clock import Clock
from devit_iot.decompose.run_folder.folder import RunFolder
from devit_iot.decompose.run_folder.progress import Progress
from devit_iot.decompose.training.augment import Augment
from devit_iot.decompose.training.batches import Batches, Pixels


class TrainingData(NamedTuple):
    """The training images, and which of them are held out for choices.

    Attributes:
        classes: names, by label.
        pixels: decoded images.
        labels: int64[count].
        fit: rows to train on.
        held_out: rows that no weight is trained on.
        fingerprint: hash of the images' names and classes, hex.
    """

    classes: tuple[str, ...]
    pixels: Pixels
    labels: NDArray[np.int64]
    fit: NDArray[np.int64]
    held_out: NDArray[np.int64]
    fingerprint: str = ""


class Context(NamedTuple):
    """A run.

    Attributes:
        recipe: what to do.
        base: folder that the recipe's relative paths start from.
        shared: folder of what does not depend on the number of parts: the teacher.
        folder: folder of everything else.
        data: the training images.
        accelerator: device, precision, processes.
        progress: told about every step.
        clock: counts the run's seconds.
        test_images: number of test images.
        windows: whether networks look at windows of the teacher's size, anywhere in the squared
            images, where those are enlarged for the parts' views.
    """

    recipe: Recipe
    base: Path
    shared: RunFolder
    folder: RunFolder
    data: TrainingData
    accelerator: Accelerator
    progress: Progress
    clock: Clock
    test_images: int = 0
    windows: bool = False

    @property
    def device(self) -> torch.device:
        """Where networks live."""
        device: torch.device = self.accelerator.device
        return device

    @property
    def side(self) -> int:
        """Side of the squared images that networks look at, pixels."""
        return round(self.recipe.teacher.model.image_size * self.zoom)

    @property
    def zoom(self) -> float:
        """How many times larger than the teacher's input that is."""
        return 1.0 if self.windows else self.recipe.zoom

    def lacks(self, folder: RunFolder, name: str) -> bool:
        """Whether ``name`` is still to be computed: the same answer in every process.

        Every process of the run must call it, with the same arguments and in the same order: each
        waits here for all others, and one that goes past it leaves them waiting for ever.

        Args:
            folder: where the result will be stored.
            name: name of the result.
        """
        missing = not folder.has(name)
        self.accelerator.wait_for_everyone()  # nobody begins to store it before all have looked
        return missing

    def batches(
        self,
        rows: NDArray[np.int64],
        labels: NDArray[np.int64],
        *,
        batch: int = 256,
        mix: bool = False,
    ) -> Batches:
        """Batches of ``rows``; augmented where they are shuffled."""
        recipe = self.recipe
        padding = round(recipe.augment.pad_crop * self.zoom)
        augment = Augment(
            msgspec.structs.replace(recipe.augment, pad_crop=padding),
            recipe.data.normalisation,
            self.side,
            mix=mix,
        )
        return Batches(
            self.data.pixels,
            labels,
            rows,
            augment,
            batch=batch,
            device=self.device,
            share=(self.accelerator.process_index, self.accelerator.num_processes),
        )

    @torch.inference_mode()
    def predict(self, forward: Callable[[Tensor], Tensor], rows: NDArray[np.int64]) -> Tensor:
        """``forward`` of all images of ``rows``, in their order; float32 on the CPU."""
        outputs = [
            forward(images).float().cpu()
            for images, _ in self.batches(rows, self.data.labels).in_order()
        ]
        return torch.cat(outputs)
