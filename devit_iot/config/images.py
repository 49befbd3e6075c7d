"""``[[images]]``: the topics on which cameras publish images."""

import itertools
from collections.abc import Sequence
from typing import Literal

import msgspec

from devit_iot.config.rules import Rules
from devit_iot.errors import ConfigError
from devit_iot.protocol.topics import ImageFilter

Delivery = Literal["latest", "every"]

_MAX_HOLD_S = 10.0


class ImagesConfig(msgspec.Struct, frozen=True):
    """``[[images]]``: one filter of image topics.

    Attributes:
        topic: filter with MQTT wildcards, ``{camera}`` and ``{request}``.
        retained: whether retained images count; they are old by nature, so by default not.
        delivery: ``latest``: a node that falls behind drops older images of a camera. ``every``:
            each image that the camera publishes at QoS 1 gets its label, however long it takes.
        max_rate: images per second and camera; further ones are dropped. 0: no limit.
        incomplete: ``refuse`` or ``take`` a JPEG whose data end early: the rest of its picture is
            grey.
        head: which head of the bundle answers for its cameras; empty: the bundle's own fusion.
        heads: which ones answer, the main one first, where they are several.
        confidence: a label goes out before all parts have answered, once the whole fleet's answer
            is so probable to be the same; 0: never. The bundle needs `devit bundle calibrate`.
        mode: ``together``: all nodes compute at once. ``cascade``: one part after the other, until
            the label is out.
        order: every part once, in the order of the cascade; empty: as calibrated, or by index.
        hold_s: how much longer each part of a cascade waits than the one before it, seconds.
        change: a node computes an image only if the mean colour of one of its 8 x 8 fields differs
            by more than this share, for instance 0.02, from the one that it computed last; else the
            feature of that one answers. 0: each image is computed.
    """

    topic: str
    retained: bool = False
    delivery: Delivery = "latest"
    max_rate: float = 0.0
    incomplete: Literal["refuse", "take"] = "refuse"
    head: str = ""
    heads: tuple[str, ...] = ()
    confidence: float = 0.0
    mode: Literal["together", "cascade"] = "together"
    order: tuple[int, ...] = ()
    hold_s: float = 0.1
    change: float = 0.0

    def rules(self) -> Rules:
        """What must hold, and what is wrong where it does not."""
        return (
            (self.max_rate >= 0, "images: max_rate must not be negative"),
            (0 <= self.confidence < 1, "images: confidence must be 0 to below 1"),
            (
                self.mode == "together" or self.confidence > 0,
                'images: mode = "cascade" needs a confidence, for instance 0.95',
            ),
            (
                0 < self.hold_s <= _MAX_HOLD_S,
                f"images: hold_s must be above 0 and at most {_MAX_HOLD_S:g}",
            ),
            (0 <= self.change < 1, "images: change must be 0 to below 1"),
            (
                sorted(self.order) == list(range(len(self.order))),
                "images: order must name every part once, for instance [2, 0, 1]",
            ),
        )


def check_overlaps(images: Sequence[ImagesConfig]) -> None:
    """Raise ConfigError if a filter is none, or if two match the same topics."""
    filters = [ImageFilter(one.topic) for one in images]
    for one, two in itertools.combinations(filters, 2):
        if one.overlaps(two):
            raise ConfigError(f"images: '{one.pattern}' and '{two.pattern}' match the same topics")
