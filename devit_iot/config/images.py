"""``[[images]]``: the topics on which cameras publish images."""

import itertools
from collections.abc import Sequence
from typing import Literal

import msgspec

from devit_iot.config.rules import Rules
from devit_iot.errors import ConfigError
from devit_iot.protocol.topics import ImageFilter

Delivery = Literal["latest", "every"]


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
    """

    topic: str
    retained: bool = False
    delivery: Delivery = "latest"
    max_rate: float = 0.0
    incomplete: Literal["refuse", "take"] = "refuse"
    head: str = ""
    heads: tuple[str, ...] = ()

    def rules(self) -> Rules:
        """What must hold, and what is wrong where it does not."""
        return ((self.max_rate >= 0, "images: max_rate must not be negative"),)


def check_overlaps(images: Sequence[ImagesConfig]) -> None:
    """Raise ConfigError if a filter is none, or if two match the same topics."""
    filters = [ImageFilter(one.topic) for one in images]
    for one, two in itertools.combinations(filters, 2):
        if one.overlaps(two):
            raise ConfigError(f"images: '{one.pattern}' and '{two.pattern}' match the same topics")
