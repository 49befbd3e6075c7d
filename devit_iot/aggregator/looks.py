"""When a rectangle of a camera's images is looked at. Pure: time and pictures are arguments."""

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from devit_iot.config.crops import LookRule
from devit_iot.engine.brightness import difference
from devit_iot.protocol.crop import Crop

MAX_REMEMBERED = 1024
"""Rectangles of all cameras; of one more the one that was not judged for longest is forgotten."""


class _Last(NamedTuple):
    """What was looked at last: when, monotonic seconds, and how bright it was, if that counts."""

    at: float
    fields: NDArray[np.float32] | None


class Looks:
    """Judges, for each image, whether a rectangle of it is looked at.

    The first image of a rectangle is looked at. So is one whose rectangle was forgotten.
    """

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, Crop], _Last] = OrderedDict()

    def judge(
        self,
        camera: str,
        crop: Crop,
        rule: LookRule,
        now: float,
        brightness: Callable[[Crop], NDArray[np.float32]],
    ) -> bool:
        """Whether ``crop`` of an image is looked at; if so, the next one is compared with it.

        Args:
            camera: the camera of the image.
            crop: the rectangle.
            rule: when it is looked at.
            now: when the image came, monotonic seconds.
            brightness: the rectangle's fields of brightness; called only if they count.

        Raises:
            ImageError: from ``brightness``; nothing is changed then.
        """
        last = self._last.get((camera, crop))
        if last is not None and now - last.at < rule.interval_s:
            return False
        fields = brightness(crop) if rule.change else None
        if last is not None and fields is not None and last.fields is not None:
            looked = difference(fields, last.fields) > rule.change
        else:
            looked = True
        if looked:
            self._last[camera, crop] = _Last(now, fields)
        self._last.move_to_end((camera, crop))
        if len(self._last) > MAX_REMEMBERED:
            self._last.popitem(last=False)
        return looked
