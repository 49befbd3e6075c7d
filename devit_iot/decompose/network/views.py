"""What each part sees of the squared image: all of it, or a rectangle of it.

See docs/method.md, section 6.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from devit_iot.bundle.spec import WHOLE, SubVitSpec, View

Layout = Literal["whole", "grid"]
Rectangle = tuple[float, float, float, float]
"""x, y, width and height, as shares of the squared image's side."""

OVERLAP = 0.75
"""Side of a view in a grid of two rows and columns."""


def views(layout: Layout | Sequence[Rectangle], parts: int) -> tuple[View, ...]:
    """The view of each part.

    ``grid`` gives overlapping corners, so that the middle of the image is seen by all: four parts
    have the four corners, two have opposite ones, more begin again. One part sees everything.

    Args:
        layout: a name, or one rectangle for each part.
        parts: number of parts.
    """
    if layout == "whole" or (layout == "grid" and parts == 1):
        return (WHOLE,) * parts
    if layout == "grid":
        far = 1 - OVERLAP
        corners = ((0.0, 0.0), (far, far), (far, 0.0), (0.0, far))
        return tuple(View(*corners[part % 4], OVERLAP, OVERLAP) for part in range(parts))
    return tuple(View(*rectangle) for rectangle in layout)


def zoom(layout: Layout | Sequence[Rectangle]) -> float:
    """How much larger the squared image is made, so that no view must invent pixels.

    Fleets of every number of parts have one zoom: they share the images, and the teacher's answers.
    """
    if layout == "whole":
        return 1.0
    if layout == "grid":
        return 1 / OVERLAP
    return max(View(*rectangle).zoom for rectangle in layout)


def crop_view(images: Tensor, spec: SubVitSpec) -> Tensor:
    """What a network of ``spec`` takes of the squared image.

    Args:
        images: float[batch, 3, side, side] with any side.
        spec: gives the view, the size of the input and the filter.

    Returns:
        float[batch, 3, image_size, image_size]: the view, resized (antialiased) unless it has that
        size already.
    """
    side, size, view = images.shape[-1], spec.image_size, spec.seen
    left, top = round(view.x * side), round(view.y * side)
    width, height = round(view.width * side), round(view.height * side)
    part = images[..., top : top + height, left : left + width]
    if part.shape[-2:] == (size, size):
        return part
    with torch.autocast(images.device.type, enabled=False):
        return functional.interpolate(
            part.float(),
            (size, size),
            mode=spec.resized.filter,
            antialias=True,
            align_corners=False,
        )
