"""Which parts are alive, from what the nodes say and send. Pure: time is an argument."""

from typing import NamedTuple

from devit_iot.protocol.status import STATUS_LIFETIME_S

GRACE_S = 5.0
SILENCE_S = 30.0
"""For so long after a feature its node counts as alive, whatever its status."""

MAX_NODES = 1024


class _Node(NamedTuple):
    part: int
    alive_until: float


class Presence:
    """The parts worth waiting for.

    A part is alive while one of its nodes says ``online``, for ``STATUS_LIFETIME_S`` each time: a
    node that died while the broker was away leaves a retained ``online`` behind. Some brokers do
    not deliver retained statuses to wildcard filters, so a node that sent a feature within the last
    30 s counts as well, unless it said ``offline`` since. In the first 5 s a part of which nothing
    was heard is expected too: its status may still be on its way.
    """

    def __init__(self, parts: int, now: float) -> None:
        self._parts = frozenset(range(parts))
        self._started = now
        self._nodes: dict[str, _Node] = {}
        self._heard_of: set[int] = set()

    def online(self, node: str, part: int, now: float) -> None:
        """``node`` says that it serves ``part``; true until it says or its will says otherwise."""
        self._remember(node, _Node(part, now + STATUS_LIFETIME_S))

    def offline(self, node: str, part: int) -> None:
        """``node`` left, or its will was published."""
        self._nodes.pop(node, None)
        self._hear_of(part)

    def expect(self, parts: int) -> None:
        """The fleet goes over to a bundle of so many parts."""
        self._parts = frozenset(range(parts))

    def forget(self, node: str) -> None:
        """``node`` is no member any more; what it served is not remembered."""
        self._nodes.pop(node, None)

    def heard(self, node: str, part: int, now: float) -> None:
        """``node`` sent a feature of ``part``."""
        known = self._nodes.get(node)
        until = now + SILENCE_S
        if known is not None and known.part == part:
            until = max(until, known.alive_until)
        self._remember(node, _Node(part, until))

    def _remember(self, name: str, node: _Node) -> None:
        if name not in self._nodes and len(self._nodes) >= MAX_NODES:
            del self._nodes[min(self._nodes, key=lambda other: self._nodes[other].alive_until)]
        self._nodes[name] = node
        self._hear_of(node.part)

    def _hear_of(self, part: int) -> None:
        if part in self._parts:  # whatever a status says, what is remembered stays small
            self._heard_of.add(part)

    def expected(self, now: float) -> frozenset[int]:
        """The parts to wait for."""
        unknown = self._parts - self._heard_of if now < self._started + GRACE_S else frozenset()
        return self.alive(now) | unknown

    def alive(self, now: float) -> frozenset[int]:
        """The parts with a live node."""
        known = tuple(self._nodes.values())  # a status may be made on the network thread
        return self._parts & {node.part for node in known if now < node.alive_until}
