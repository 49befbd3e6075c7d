"""Which parts are alive, from what the nodes say and send. Pure: time is an argument."""

GRACE_S = 5.0
SILENCE_S = 30.0


class Presence:
    """The parts worth waiting for.

    A part is expected while one of its nodes says ``online``; some brokers do not deliver retained
    statuses to wildcard filters, so a node that sent a feature within the last 30 s counts as
    well, unless it said ``offline`` since. In the first 5 s every part is expected: the statuses
    are still on their way.
    """

    def __init__(self, parts: int, now: float) -> None:
        self._parts = frozenset(range(parts))
        self._started = now
        self._nodes: dict[str, tuple[int, float]] = {}  # node -> its part, alive until

    def online(self, node: str, part: int) -> None:
        """``node`` says that it serves ``part``; true until it says or its will says otherwise."""
        self._nodes[node] = (part, float("inf"))

    def offline(self, node: str) -> None:
        """``node`` left, or its will was published."""
        self._nodes.pop(node, None)

    def heard(self, node: str, part: int, now: float) -> None:
        """``node`` sent a feature of ``part``."""
        _, until = self._nodes.get(node, (part, 0.0))
        self._nodes[node] = (part, max(until, now + SILENCE_S))

    def expected(self, now: float) -> frozenset[int]:
        """The parts to wait for."""
        if now < self._started + GRACE_S:
            return self._parts
        return self.alive(now)

    def alive(self, now: float) -> frozenset[int]:
        """The parts with a live node."""
        return self._parts & {part for part, until in self._nodes.values() if now < until}
