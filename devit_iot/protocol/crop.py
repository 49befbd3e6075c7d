"""Rectangles of images that nodes compute as images of their own. Normative: docs/protocol.md.

All nodes must agree on them, so they are told by one retained message.
"""

import hashlib
import struct
from typing import NamedTuple, Self

import msgspec

from devit_iot.errors import MessageError
from devit_iot.protocol.json_message import JsonMessage
from devit_iot.protocol.request import REQUEST_ID_BYTES

VERSION = 1
MAX_CROPS = 8
"""Rectangles of one camera."""

MAX_CAMERAS = 256
MAX_ONE_IN = 1_000_000
LEAST_SIDE = 0.01
OTHERS = "*"
"""Stands for every camera that is not named."""

CROP_BYTES = 8
_UNITS = 65535
_PACKED = struct.Struct("<4H")


class Crop(NamedTuple):
    """A rectangle in units of 1/65535 of the image's width and height, from its upper left corner.

    Integers are the same at every node, and in a message.

    Attributes:
        x: left edge.
        y: upper edge.
        w: width.
        h: height.
    """

    x: int
    y: int
    w: int
    h: int

    @classmethod
    def of(cls, x: float, y: float, w: float, h: float) -> Self:
        """The rectangle with these shares of the image's sides.

        Raises:
            ValueError: it is smaller than a hundredth of a side, or not within the image.
        """
        inside = x >= 0 and y >= 0 and x + w <= 1 + 1e-9 and y + h <= 1 + 1e-9
        if not (inside and w >= LEAST_SIDE and h >= LEAST_SIDE):  # NaN too
            raise ValueError(
                f"crop {x:g}, {y:g}, {w:g}, {h:g} is no part of an image: x, y, w and h are shares "
                f"of its sides, w and h at least {LEAST_SIDE:g}, x + w and y + h at most 1"
            )
        left, top = round(x * _UNITS), round(y * _UNITS)
        return cls(
            left, top, min(round(w * _UNITS), _UNITS - left), min(round(h * _UNITS), _UNITS - top)
        )

    @classmethod
    def decode(cls, packed: bytes) -> Self:
        """Read the eight bytes of :meth:`encode`.

        Raises:
            ValueError: it is not within an image.
        """
        crop = cls(*_PACKED.unpack(packed))
        if not (crop.w and crop.h and crop.x + crop.w <= _UNITS and crop.y + crop.h <= _UNITS):
            raise ValueError("a crop is not within its image")
        return crop

    def check(self) -> Self:
        """Return it if it is within an image, else raise ValueError."""
        try:
            return self.decode(self.encode())
        except struct.error as error:
            raise ValueError(f"a crop has no sides {tuple(self)}") from error

    def encode(self) -> bytes:
        """Four unsigned integers of 16 bits, little-endian."""
        return _PACKED.pack(*self)

    @property
    def share(self) -> tuple[float, float]:
        """Width and height, as shares of the image's."""
        return self.w / _UNITS, self.h / _UNITS

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom pixel in a picture of this size; at least one pixel each."""
        left, top = width * self.x // _UNITS, height * self.y // _UNITS
        right = -(-width * (self.x + self.w) // _UNITS)
        bottom = -(-height * (self.y + self.h) // _UNITS)
        return left, top, max(right, left + 1), max(bottom, top + 1)

    def request_id(self, image: bytes) -> bytes:
        """The request id of this crop of the image with the request id ``image``."""
        return hashlib.blake2b(image + self.encode(), digest_size=REQUEST_ID_BYTES).digest()


class CropOrder(msgspec.Struct, frozen=True):
    """What to compute of a camera's images.

    Attributes:
        x: left edge of the rectangle, in units of 1/65535 of the image's width.
        y: upper edge, in units of its height.
        w: width.
        h: height.
        one_in: it is computed of one in so many images, which their request ids choose.
    """

    x: int
    y: int
    w: int
    h: int
    one_in: int = 1

    @property
    def crop(self) -> Crop:
        """The rectangle."""
        return Crop(self.x, self.y, self.w, self.h)


class CameraCrops(msgspec.Struct, frozen=True):
    """What to compute of each image of a camera.

    Attributes:
        whole: whether the image itself is computed.
        crops: rectangles of it that are computed too.
    """

    whole: bool = True
    crops: tuple[CropOrder, ...] = ()

    def wanted(self, image: bytes) -> list[tuple[bytes, Crop | None]]:
        """What to compute of the image with the request id ``image``: request ids, with crops.

        It follows from the request id alone, so all nodes choose the same images.
        """
        found: list[tuple[bytes, Crop | None]] = [(image, None)] if self.whole else []
        for order in self.crops:
            request_id = order.crop.request_id(image)
            if int.from_bytes(request_id[8:], "little") % order.one_in == 0:
                found.append((request_id, order.crop))
        return found


WHOLE = CameraCrops()


class CropPlan(JsonMessage, frozen=True):
    """What nodes compute of which camera's images, as the aggregators' retained message.

    Attributes:
        version: version of this message.
        cameras: name of a camera, or :data:`OTHERS`, to what is computed of its images; of
            cameras that are not named the whole image is.
    """

    version: int = VERSION
    cameras: dict[str, CameraCrops] = {}  # noqa: RUF012 - msgspec copies it

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read the JSON form.

        Raises:
            MessageError: it does not parse, is of another version, or asks for what cannot be.
        """
        plan = super().decode(payload)
        if plan.version != VERSION:
            raise MessageError("version", f"CropPlan of version {plan.version}, not {VERSION}")
        if len(plan.cameras) > MAX_CAMERAS:
            raise MessageError("crop", f"CropPlan names {len(plan.cameras)} cameras")
        for camera in plan.cameras.values():
            if len(camera.crops) > MAX_CROPS:
                raise MessageError("crop", f"a camera has {len(camera.crops)} crops")
            for order in camera.crops:
                _check(order)
        return plan

    def of(self, camera: str) -> CameraCrops:
        """What to compute of the images of ``camera``."""
        return self.cameras.get(camera) or self.cameras.get(OTHERS, WHOLE)


def _check(order: CropOrder) -> None:
    try:
        order.crop.check()
    except ValueError as error:
        raise MessageError("crop", f"CropPlan has a crop {order.crop} that cannot be") from error
    if not 1 <= order.one_in <= MAX_ONE_IN:
        raise MessageError("crop", f"CropPlan wants one in {order.one_in} images")
