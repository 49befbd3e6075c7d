"""``[crops.<camera>.<head>]``: the rectangle of a camera's images that a head looks at."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from devit_iot.config.rules import Rules
from devit_iot.errors import ConfigError
from devit_iot.protocol.crop import MAX_CROPS, MAX_ONE_IN, CameraCrops, Crop, CropOrder

_MAX_INTERVAL_S = 86400.0


class LookRule(NamedTuple):
    """When a head looks at its rectangle, where the aggregator judges that.

    Attributes:
        interval_s: it looks at most once in so many seconds; 0: no limit.
        change: it looks when the rectangle differs by more than this share from the one that it
            looked at last; 0: whether it differs or not.
    """

    interval_s: float
    change: float


class CropConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[crops.<camera>.<head>]``: the rectangle of a camera's images that a head looks at.

    Attributes:
        x: left edge, as a share of the image's width, 0 to 1.
        y: upper edge, as a share of its height.
        w: width, as a share of the image's.
        h: height, as a share of the image's.
        one_in: the head answers one in so many images, evenly drawn; 1: every one.
        interval_s: the head answers at most one image in so many seconds; 0: no limit.
        change: the head answers an image only if the brightness of some part of its rectangle
            changed by more than this share since the one that it answered last, for instance 0.05;
            0: whether it changed or not.
    """

    x: float
    y: float
    w: float
    h: float
    one_in: int = 1
    interval_s: float = 0.0
    change: float = 0.0

    def rules(self) -> Rules:
        """What must hold, and what is wrong where it does not."""
        return (
            (1 <= self.one_in <= MAX_ONE_IN, f"crops: one_in must be 1 to {MAX_ONE_IN}"),
            (
                0 <= self.interval_s <= _MAX_INTERVAL_S,
                f"crops: interval_s must be 0 to {_MAX_INTERVAL_S:g}",
            ),
            (0 <= self.change < 1, "crops: change must be 0 to below 1, for instance 0.05"),
            (
                self.one_in == 1 or self.look is None,
                "crops: one_in chooses images before interval_s or change could: give one of them",
            ),
        )

    @property
    def look(self) -> LookRule | None:
        """When the head looks; None: nodes compute the rectangle of the camera's own images."""
        rule = LookRule(self.interval_s, self.change)
        return rule if any(rule) else None

    @property
    def order(self) -> CropOrder:
        """What nodes are told."""
        return CropOrder(*self.crop, one_in=self.one_in)

    @property
    def crop(self) -> Crop:
        """The rectangle; ConfigError if it is not within an image."""
        try:
            return Crop.of(self.x, self.y, self.w, self.h)
        except ValueError as error:
            raise ConfigError(f"crops: {error}") from error


HeadCrops = Mapping[str, CropConfig]
"""Head -> the rectangle that it looks at; a head that is not named looks at the whole image."""


def check_heads(camera: str, heads: tuple[str, ...], crops: HeadCrops) -> None:
    """Raise ConfigError if ``crops`` names a head that the camera does not have."""
    for head in crops:
        if head not in heads:
            raise ConfigError(
                f"crops: camera '{camera}' has no head '{head}'; it has {', '.join(heads)}"
            )


def camera_looks(camera: str, crops: HeadCrops) -> dict[Crop, LookRule]:
    """The rectangles of one camera that are looked at when the aggregator says so.

    Args:
        camera: name of the camera, for messages.
        crops: rectangles of its heads.

    Raises:
        ConfigError: heads with the same rectangle look at different times.
    """
    found: dict[Crop, tuple[str, LookRule | None]] = {}
    for head, config in crops.items():
        other, rule = found.setdefault(config.crop, (head, config.look))
        if rule != config.look:
            raise ConfigError(
                f"crops: heads '{other}' and '{head}' of camera '{camera}' look at the same "
                "rectangle: give both the same interval_s and change"
            )
    return {crop: rule for crop, (_, rule) in found.items() if rule is not None}


def camera_crops(
    camera: str,
    heads: tuple[str, ...],
    orders: Mapping[str, CropOrder],
    looks: Mapping[Crop, LookRule],
) -> CameraCrops:
    """What nodes compute for the heads of one camera; several heads may share a rectangle.

    Args:
        camera: name of the camera, for messages.
        heads: its heads.
        orders: rectangles of those that do not look at the whole image.
        looks: which of these rectangles are looked at when the aggregator says so.

    Raises:
        ConfigError: too many rectangles.
    """
    one_in: dict[Crop, int] = {}
    for order in orders.values():
        one_in[order.crop] = min(order.one_in, one_in.get(order.crop, MAX_ONE_IN))
    if len(one_in) > MAX_CROPS:
        raise ConfigError(f"crops: camera '{camera}' has more than {MAX_CROPS} rectangles")
    return CameraCrops(
        whole=not set(heads) <= orders.keys(),
        crops=tuple(
            CropOrder(*crop, one_in=number)
            for crop, number in sorted(one_in.items())
            if crop not in looks
        ),
    )
