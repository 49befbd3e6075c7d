"""What a part costs on a board: time (docs/fleet.md, eq. 1 and 2), memory and energy."""

from collections.abc import Sequence
from typing import NamedTuple, get_args

import msgspec

from devit_iot.bundle.memory import part_bytes
from devit_iot.bundle.spec import SubVitSpec
from devit_iot.bundle.storage import Dtype
from devit_iot.bundle.work import Work, work
from devit_iot.protocol.board import BoardProfile, Speed
from devit_iot.protocol.feature import feature_bytes

PRECISIONS: tuple[Dtype, ...] = get_args(Dtype)
"""The most precise one first."""


class Kind(NamedTuple):
    """A part that a board may carry.

    Attributes:
        name: for people.
        spec: its shape.
        macs: multiply-accumulates of one image.
        file_bytes: size of its file in the bundle.
        budget: share of the teacher's multiply-accumulates that it was cut for; 0: it is a
            bundle's part.
    """

    name: str
    spec: SubVitSpec
    macs: int
    file_bytes: int
    budget: float = 0.0


class Option(NamedTuple):
    """One way in which a board can carry a part.

    Attributes:
        dtype: what it computes in.
        network_ms: time of the image to the board and the feature back.
        decode_ms: time of decoding and resizing the image.
        compute_ms: time of the engine.
        memory_mib: MiB of the board that the part takes.
        energy_j: joules of one image while the board computes; 0: unknown.
    """

    dtype: Dtype
    network_ms: float
    decode_ms: float
    compute_ms: float
    memory_mib: float
    energy_j: float

    @property
    def total_ms(self) -> float:
        """From the camera's publishing the image to the feature's arrival."""
        return self.network_ms + self.decode_ms + self.compute_ms

    @property
    def busy_s(self) -> float:
        """Seconds in which the board can do nothing else."""
        return (self.decode_ms + self.compute_ms) / 1e3


def compute_ms(speed: Speed, done: Work) -> float:
    """The time of one inference, eq. 1."""
    return (
        speed.linear_ms * done.linear / 1e9
        + speed.attention_ms * done.attention / 1e9
        + speed.values_ms * done.values / 1e6
        + speed.fixed_ms
    )


def network_ms(board: BoardProfile, image_bytes: int, reply_bytes: int) -> float:
    """Image to the board and feature back, and the board's own work with both messages."""
    link = 2 * board.link_ms + (image_bytes + reply_bytes) * 8e-3 / board.link_mbps
    return link + board.message_ms


def options(
    board: BoardProfile, kind: Kind, image_bytes: int, dtypes: Sequence[Dtype] = PRECISIONS
) -> tuple[Option, ...]:
    """The ways in which ``board`` can carry ``kind``, the most precise first; none if none fits."""
    found = []
    network = network_ms(board, image_bytes, feature_bytes(kind.spec.feature_dim))
    speeds = msgspec.structs.asdict(board.speed)
    for dtype in sorted(dtypes, key=PRECISIONS.index):
        speed = speeds[dtype]
        memory = needed_mb(kind, dtype)
        if speed is None or memory > board.memory_mib - board.overhead_mib:
            continue
        compute = compute_ms(speed, work(kind.spec))
        energy = board.watts * (board.decode_ms + compute) / 1e3
        found.append(Option(dtype, network, board.decode_ms, compute, memory, energy))
    return tuple(found)


def needed_mb(kind: Kind, dtype: Dtype) -> float:
    """MiB that a part takes on a board that computes in ``dtype``."""
    return part_bytes(kind.spec, kind.file_bytes, dtype) / 2**20
