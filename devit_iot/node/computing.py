"""What a node serves, and the feature of one image."""

import time
from typing import NamedTuple

from devit_iot.bundle.spec import SubVitSpec
from devit_iot.engine.base import Engine
from devit_iot.engine.image import load_image
from devit_iot.node.frame import Frame
from devit_iot.node.repeats import Repeats, Shown, colours
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


class Computed(NamedTuple):
    """What comes of an image.

    Attributes:
        feature: its feature.
        payload: the message that says it.
        repeated: whether the feature is that of an earlier image, which looked the same.
    """

    feature: Feature
    payload: bytes
    repeated: bool

    @property
    def times_ms(self) -> dict[str, float]:
        """Milliseconds by stage; a repeated image was not computed."""
        timing = self.feature.timing
        times = {"wait": timing.wait_us / 1e3, "decode": timing.decode_us / 1e3}
        return times if self.repeated else {**times, "compute": timing.compute_us / 1e3}

    @property
    def counts(self) -> tuple[str, ...]:
        """Names of the counters that its feature adds one to."""
        also = {"repeated": self.repeated, "crops": self.feature.crop is not None}
        return ("published", *(name for name, counts in also.items() if counts))


def compute(
    served: Served,
    frame: Frame,
    request_id: bytes,
    crop: Crop | None,
    *,
    repeats: Repeats,
    max_pixels: int,
) -> Computed:
    """The feature of an image, or of a rectangle of it, with the times that it took.

    Args:
        served: the part.
        frame: the image.
        request_id: request of the feature; that of the image, or of its crop.
        crop: the rectangle; None: the whole image.
        repeats: what was computed before; asked and told if the frame's camera wants it.
        max_pixels: pixels that an image may have.

    Raises:
        ImageError: the image is unusable.
        MessageError: the feature is no finite numbers.
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
    shown = Shown.to(identity, frame.camera, crop)
    fields = colours(image) if frame.change else None
    known = None if fields is None else repeats.recall(shown, fields, frame.change)
    values = served.engine.features(image) if known is None else known
    end = time.monotonic()
    feature = Feature(
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
    payload = feature.encode()
    if fields is not None and known is None:
        repeats.keep(shown, fields, values)
    return Computed(feature, payload, known is not None)


def _us(seconds: float) -> int:
    return max(0, round(1e6 * seconds))
