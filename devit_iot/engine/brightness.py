"""How bright the parts of a picture are, to tell cheaply whether another one shows the same."""

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.spec import CHANNELS, BlockSpec, Resize, SubVitSpec
from devit_iot.engine.image import load_image
from devit_iot.limits import MAX_PIXELS
from devit_iot.protocol.crop import Crop

FIELDS = 8
"""Rows and columns of fields."""

_SIDE = 8 * FIELDS
_SQUARE = SubVitSpec(
    image_size=_SIDE,
    resize_size=_SIDE,
    patch_size=FIELDS,
    embed_dim=1,
    head_dim=1,
    prefix_tokens=1,
    blocks=(BlockSpec(heads=1, mlp_dim=1),),
    resize=Resize("squash", "bilinear"),
)


def brightness(
    file: bytes,
    *,
    crop: Crop,
    max_pixels: int = MAX_PIXELS,
    take_incomplete: bool = False,
) -> NDArray[np.float32]:
    """Mean brightness of the fields of a rectangle of a picture.

    Args:
        file: one JPEG, PNG or WebP file.
        crop: the rectangle, which is cut into :data:`FIELDS` rows and columns.
        max_pixels: pixels that the picture may have.
        take_incomplete: whether a JPEG counts if its data end early.

    Returns:
        float32[FIELDS, FIELDS], 0 for black to 1 for white: the mean of the three colours.

    Raises:
        ImageError: the picture is unusable.
    """
    square = load_image(
        file, _SQUARE, max_pixels=max_pixels, take_incomplete=take_incomplete, crop=crop
    )
    fields = square.reshape(FIELDS, _SIDE // FIELDS, FIELDS, _SIDE // FIELDS, CHANNELS)
    mean: NDArray[np.float32] = fields.mean(axis=(1, 3, 4), dtype=np.float32) / 255
    return mean


def difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """How much the field that changed most became lighter or darker, as a share of white.

    What all fields have in common, the median of their changes, does not count: a cloud before
    the sun, or a camera that sets its exposure, changes all of them.
    """
    change = one - other
    return float(np.abs(change - np.median(change)).max())
