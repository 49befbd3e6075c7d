"""A node's place in the cascade of some cameras."""

from collections.abc import Sequence

from devit_iot.config.images import ImagesConfig


def turn_s(entry: ImagesConfig, part: int, parts: int, calibrated: Sequence[int]) -> float:
    """How long the node of a part holds an image before it computes, seconds.

    Args:
        entry: filter that the image came by.
        part: part that the node runs.
        parts: number of parts of the bundle.
        calibrated: order that the bundle's calibration found best; empty: by index.
    """
    if entry.mode != "cascade":
        return 0.0
    order = next((o for o in (entry.order, calibrated) if len(o) == parts), range(parts))
    return entry.hold_s * order.index(part)
