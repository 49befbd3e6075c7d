"""``[node]``: one edge node."""

from typing import Literal

import msgspec

from devit_iot.config.rules import Rules
from devit_iot.errors import ConfigError
from devit_iot.limits import MAX_PIXELS

AUTO = "auto"
"""The ``replica`` of nodes that share by who lives."""

_MAX_THREADS = 1024
_MIN_HANG_S = 5.0  # an idle node shows a sign of life once a second


class NodeConfig(msgspec.Struct, frozen=True):
    """``[node]``: one edge node.

    Attributes:
        name: unique in the fleet; the host's name unless given.
        part: index of the part to run, 0 unless given; with a store it pins the node to that part,
            and without it the hub chooses.
        replica: ``auto``: share the requests with the living nodes of the same part; ``i/n``: serve
            every n-th request, the i-th of n nodes with the same part.
        engine: program that computes: native, tflite or torch.
        isa: instruction set to force, for instance ``scalar``; empty: the best one.
        dtype: element type to compute in; empty: the one that the part is stored in.
        threads: CPU threads of one inference; 0: all of the board.
        memory_mib: MiB that the node may count on; a part that needs more is refused at start.
        max_pixels: larger images are refused by their header; a JPEG counts as it is decoded.
        max_payload_bytes: larger messages are refused unread.
        max_cameras: frames of further cameras are refused.
        max_age_s: an image of ``latest`` that waited longer is not computed.
        max_waiting_mib: MiB of images of ``every`` that wait in memory; further ones stay with
            the broker.
        hang_s: an image that takes longer ends the node, for the service manager to restart.
        profile: file that ``devit bench --profile`` wrote on this board; the node announces it,
            for ``devit plan``.
    """

    name: str = ""
    part: int | None = None
    replica: str = AUTO
    engine: str = "native"
    isa: str = ""
    dtype: Literal["", "float32", "float16", "int8"] = ""
    threads: int = 0
    memory_mib: int = 4096
    max_pixels: int = MAX_PIXELS
    max_payload_bytes: int = 16 * 2**20
    max_cameras: int = 64
    max_age_s: float = 10.0
    max_waiting_mib: int = 64
    hang_s: float = 60.0
    profile: str = ""

    def rules(self) -> Rules:
        """What must hold, and what is wrong where it does not."""
        return (
            (self.part is None or self.part >= 0, "node.part must not be negative"),
            (0 <= self.threads <= _MAX_THREADS, f"node.threads must be 0 to {_MAX_THREADS}"),
            (self.max_pixels > 0, "node.max_pixels must be positive"),
            (self.max_payload_bytes > 0, "node.max_payload_bytes must be positive"),
            (self.max_cameras > 0, "node.max_cameras must be positive"),
            (self.memory_mib > 0, "node.memory_mib must be positive"),
            (self.max_age_s > 0, "node.max_age_s must be positive"),
            (self.max_waiting_mib > 0, "node.max_waiting_mib must be positive"),
            (self.hang_s >= _MIN_HANG_S, f"node.hang_s must be at least {_MIN_HANG_S:g}"),
        )


def fraction(text: str, what: str) -> tuple[int, int]:
    """Parse ``i/n`` with 0 <= i < n."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise ConfigError(f"{what} '{text}' is not i/n with 0 <= i < n, for instance 0/2")
    return int(index), int(count)
