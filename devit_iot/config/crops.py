"""``[crops.<camera>.<head>]``: the rectangle of a camera's images that a head looks at."""

from collections.abc import Mapping

import msgspec

from devit_iot.config.rules import Rules
from devit_iot.errors import ConfigError
from devit_iot.protocol.crop import MAX_CROPS, MAX_ONE_IN, CameraCrops, Crop, CropOrder


class CropConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[crops.<camera>.<head>]``: the rectangle of a camera's images that a head looks at.

    Attributes:
        x: left edge, as a share of the image's width, 0 to 1.
        y: upper edge, as a share of its height.
        w: width, as a share of the image's.
        h: height, as a share of the image's.
        one_in: the head answers one in so many images, evenly drawn; 1: every one.
    """

    x: float
    y: float
    w: float
    h: float
    one_in: int = 1

    def rules(self) -> Rules:
        """What must hold, and what is wrong where it does not."""
        return ((1 <= self.one_in <= MAX_ONE_IN, f"crops: one_in must be 1 to {MAX_ONE_IN}"),)

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


def camera_crops(
    camera: str, heads: tuple[str, ...], orders: Mapping[str, CropOrder]
) -> CameraCrops:
    """What nodes compute for the heads of one camera; several heads may share a rectangle.

    Args:
        camera: name of the camera, for messages.
        heads: its heads.
        orders: rectangles of those that do not look at the whole image.

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
        crops=tuple(CropOrder(*crop, one_in=number) for crop, number in sorted(one_in.items())),
    )
