"""Whether a run has images enough for all of its stages, before the first one takes hours."""

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.spec import macs
from devit_iot.datasets.source import ImageSource
from devit_iot.decompose.recipe import Recipe
from devit_iot.decompose.shrinking.importance import MIN_IMAGES
from devit_iot.decompose.stages.partition import partition
from devit_iot.errors import DataError


def check_classes(train: ImageSource) -> None:
    """Raise DataError unless every class has an image to learn from and one to hold out."""
    counts = np.bincount(train.labels, minlength=len(train.classes))
    few = np.flatnonzero(counts == 1)
    if len(few):
        raise DataError(
            f"class '{train.classes[few[0]]}' of {train.origin}{_more(len(few))} has one image to "
            "train on, too few to hold out any for choices; add images or remove the class"
        )


def check_parts(recipe: Recipe, train: ImageSource, fit: NDArray[np.int64], processes: int) -> None:
    """Raise DataError unless every part has images enough to be cut out and to be trained.

    Which classes make up a part may be known only when the teacher is trained. Then the part is
    taken to have those with the fewest images.

    Args:
        recipe: gives the parts.
        train: all training images.
        fit: training images that are not held out, int64[count].
        processes: number of processes that train together; each needs an image of every batch.

    Raises:
        ConfigError: more parts than classes.
    """
    counts = np.bincount(train.labels[fit], minlength=len(train.classes))
    groups = partition(len(train.classes), recipe.partition.parts, recipe.seed)
    template = macs((recipe.student or recipe.teacher).model)
    for part, group in enumerate(groups):
        known = recipe.partition.by == "seed"
        classes = list(group) if known else np.argsort(counts, kind="stable")[: len(group)].tolist()
        images = int(counts[classes].sum())
        if images < MIN_IMAGES and recipe.macs_budget(part) < template:
            raise DataError(
                f"class '{train.classes[classes[0]]}' of {train.origin} has {images} image to "
                f"learn from beside those held out, and a part for it alone is cut by {MIN_IMAGES} "
                "at least; add images, or give fewer --parts"
            )
        if images < processes:
            raise DataError(
                f"part {part} has {images} images of {train.origin} to learn from, too few for "
                f"{processes} processes; start fewer"
            )


def _more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""
