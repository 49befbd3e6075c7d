"""What waits on a node."""

from typing import NamedTuple

from devit_iot.protocol.crop import Crop


class Frame(NamedTuple):
    """An image that waits for its turn.

    Attributes:
        received: when the image came, monotonic seconds.
        received_ms: when the image came, Unix milliseconds.
        is_every: whether it is of ``every``: its request waits for its acknowledgement.
        take_incomplete: whether it counts if its data end early.
        crop: the rectangle that is computed, of an image that an aggregator sent for that; None:
            what the fleet's plan says.
        change: how much it must differ from the image that was computed last, as a share of the
            full range; 0: it is computed in any case.
        turn_s: how long it waits for the nodes before this one in a cascade, seconds.
    """

    camera: str
    request_id: bytes
    payload: bytes
    received: float
    received_ms: int
    is_every: bool
    take_incomplete: bool
    crop: Crop | None = None
    change: float = 0.0
    turn_s: float = 0.0
