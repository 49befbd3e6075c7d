"""What a node serves, and the feature of one image."""

import time
from typing import NamedTuple

from devit_iot.bundle.spec import SubVitSpec
from devit_iot.engine.base import Engine
from devit_iot.engine.image import load_image
from devit_iot.node.frame import Frame
from devit_iot.protocol.crop import Crop
from devit_iot.protocol.feature import Feature, Timing
from devit_iot.protocol.image_message import unwrap_image
from devit_iot.protocol.status import NodeStatus


class Served(NamedTuple):
    """What a node serves: the status that says so, without counters, and what computes it.

    Attributes:
        order: order of the parts that the bundle's calibration found best; empty: none did.
    """

    identity: NodeStatus
    spec: SubVitSpec
    engine: Engine
    order: tuple[int, ...] = ()


def compute(
    served: Served, frame: Frame, request_id: bytes, crop: Crop | None, *, max_pixels: int
) -> Feature:
    """The feature of an image, or of a rectangle of it, with the times that it took.

    Args:
        served: the part.
        frame: the image.
        request_id: request of the feature; that of the image, or of its crop.
        crop: the rectangle; None: the whole image.
        max_pixels: pixels that an image may have.

    Raises:
        ImageError: the image is unusable.
    """
    begin = time.monotonic()
    identity = served.identity
    image = load_image(
        unwrap_image(frame.payload),
        served.spec,
        max_pixels=max_pixels,
        take_incomplete=frame.take_incomplete,
        crop=crop,
    )
    decoded = time.monotonic()
    values = served.engine.features(image)
    end = time.monotonic()
    return Feature(
        request_id=request_id,
        fingerprint=bytes.fromhex(identity.fingerprint),
        part=identity.part,
        parts=identity.parts,
        camera=frame.camera,
        received_ms=frame.received_ms,
        timing=Timing(_us(begin - frame.received), _us(decoded - begin), _us(end - decoded)),
        values=values,
        parts_fingerprint=bytes.fromhex(identity.parts_fingerprint),
        crop=crop,
    )


def _us(seconds: float) -> int:
    return max(0, round(1e6 * seconds))
