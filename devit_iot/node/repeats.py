"""Images that look like the one before: the feature of that one answers for them."""

from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from devit_iot.protocol.crop import Crop
from devit_iot.protocol.status import NodeStatus

FIELDS = 8
"""Rows and columns of fields that are compared."""

MAX_REMEMBERED = 1024
"""Rectangles of all cameras; of one more the one that was not asked for longest is forgotten."""

_WHITE = 255


class Shown(NamedTuple):
    """What a feature is of: pictures of another one are not compared.

    Attributes:
        camera: the camera.
        crop: the rectangle of its images; None: the whole image.
        fingerprint: fingerprint of the bundle.
        part: part of the bundle, which may have its own view of the image.
    """

    camera: str
    crop: Crop | None
    fingerprint: str
    part: int

    @classmethod
    def to(cls, identity: NodeStatus, camera: str, crop: Crop | None) -> "Shown":
        """What a node of ``identity`` sees of a camera."""
        return cls(camera, crop, identity.fingerprint, identity.part)


class _Computed(NamedTuple):
    colours: NDArray[np.float32]
    values: NDArray[np.float32]


class Repeats:
    """Remembers the last image of each rectangle that was computed, and its feature.

    A picture is compared with the last one that was computed, not with the last one that came, so
    slow changes add up until the engine computes again.
    """

    def __init__(self) -> None:
        self._last: OrderedDict[Shown, _Computed] = OrderedDict()

    def recall(
        self, shown: Shown, colours: NDArray[np.float32], change: float
    ) -> NDArray[np.float32] | None:
        """The feature of the last computed image, if this one looks the same; else None.

        Args:
            shown: what the image is of.
            colours: its fields, see :func:`colours`.
            change: share of the full range by which a field may differ, in each colour.
        """
        last = self._last.get(shown)
        if last is None or float(np.abs(colours - last.colours).max()) > change:
            return None
        self._last.move_to_end(shown)
        return last.values

    def keep(self, shown: Shown, colours: NDArray[np.float32], values: NDArray[np.float32]) -> None:
        """Remember an image that was computed, in place of the one before it.

        Args:
            shown: what the image is of.
            colours: its fields.
            values: its feature, which a message can hold: what fails is not to be repeated.
        """
        self._last[shown] = _Computed(colours, values)
        self._last.move_to_end(shown)
        if len(self._last) > MAX_REMEMBERED:
            self._last.popitem(last=False)


def colours(square: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean colours of the fields of a picture.

    Brightness alone would take a red lamp for a green one, and what all fields have in common
    counts: a room whose lamp was lit is another picture.

    Args:
        square: uint8[side, side, 3], as the part sees it.

    Returns:
        float32[FIELDS, FIELDS, 3], 0 to 1; fewer fields where the side has fewer pixels.
    """
    side = len(square)
    edges = np.arange(min(FIELDS, side)) * side // min(FIELDS, side)
    rows = np.add.reduceat(square, edges, axis=0, dtype=np.uint32)
    sums = np.add.reduceat(rows, edges, axis=1, dtype=np.uint32)
    lengths = np.diff(edges, append=side)
    areas = np.multiply.outer(lengths, lengths)[..., None]
    means: NDArray[np.float32] = (sums / (_WHITE * areas)).astype(np.float32)
    return means
