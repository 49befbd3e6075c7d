"""Which of the living nodes with one part computes an image. Pure: time is an argument."""

from typing import NamedTuple

import msgspec

from devit_iot.errors import MessageError
from devit_iot.protocol.json_message import MAX_JSON_BYTES, PartCount
from devit_iot.protocol.request import weight
from devit_iot.protocol.status import STATUS_LIFETIME_S, NodeStatus

MAX_NODES = 1024


class Seat(NamedTuple):
    """What a node computes; nodes with the same seat can stand in for each other.

    Attributes:
        part: index of the part.
        parts: fingerprint of the bundle's parts; of the bundle, where a node names no parts.
    """

    part: int
    parts: str


def seat_of(status: NodeStatus) -> Seat:
    """The seat of a node that says this."""
    return Seat(status.part, status.parts_fingerprint or status.fingerprint)


class _Said(msgspec.Struct):
    """What counts of a node's status; a fleet's statuses are many, so the rest is skipped."""

    state: str
    fingerprint: str
    part: PartCount
    parts_fingerprint: str = ""
    shares: bool = False


class Companions:
    """The nodes that share the requests of one part with this node.

    Args:
        name: name of this node, which is always one of them.
        seat: what it computes.
    """

    def __init__(self, name: str, seat: Seat) -> None:
        self._name = name
        self._known: dict[str, tuple[Seat, float]] = {}  # the time is when it counts as gone
        self.seat = seat

    def hear(self, node: str, payload: bytes, now: float) -> None:
        """Take the status of another node; an empty one takes it away.

        Raises:
            MessageError: the status does not parse.
        """
        if not payload:
            self._known.pop(node, None)
            return
        try:
            if len(payload) > MAX_JSON_BYTES:
                raise MessageError("too_large", f"status of {len(payload)} bytes")
            said = msgspec.json.decode(payload, type=_Said)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MessageError("json", f"a status does not parse: {error}") from error
        self._known.pop(node, None)
        if said.state == "online" and said.shares:
            if len(self._known) >= MAX_NODES:
                del self._known[next(iter(self._known))]  # the one that was heard least recently
            seat = Seat(said.part, said.parts_fingerprint or said.fingerprint)
            self._known[node] = seat, now + STATUS_LIFETIME_S

    def alive(self, now: float) -> list[str]:
        """The others that share the part now."""
        return [
            node for node, (seat, until) in self._known.items() if seat == self.seat and now < until
        ]

    def rank(self, request_id: bytes, now: float) -> int:
        """How many others compute a request before this node does; 0: it is this node's."""
        others = self.alive(now)
        if not others:
            return 0
        own = weight(request_id, self._name), self._name
        return sum((weight(request_id, other), other) > own for other in others)
