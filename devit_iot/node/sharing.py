"""What a node does with the images that it shares with others. Normative: docs/protocol.md."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from devit_iot.config.config import fraction
from devit_iot.errors import InputError
from devit_iot.node.awaited import Awaited
from devit_iot.node.companions import Companions, seat_of
from devit_iot.node.mailbox import Mailbox
from devit_iot.protocol.feature import read_identity
from devit_iot.protocol.status import NodeStatus
from devit_iot.protocol.topics import Topics
from devit_iot.service.counters import Counters
from devit_iot.transport.base import Message, Transport

HOLD_S = 10.0
"""After so long without its feature an image of ``every`` is computed by the next node in turn."""

CATCH_UP_S = (2.0, 60.0)
"""Shortest and longest time after connecting until a node shares: before, it works off what waited
for it at the broker, which others may have computed meanwhile."""

_NEARLY_DONE = 16
"""With fewer images unfinished the broker has none left; it sends 32 ahead, or 20."""

_REMEMBERED = 4096
"""Requests of which another node's feature was seen before the image came."""


def fixed_share(replica: str) -> Callable[[bytes], bool]:
    """Says of a request id whether it is one of replica ``i/n``."""
    index, count = fraction(replica, "node.replica")
    return lambda request_id: int.from_bytes(request_id, "little") % count == index


class _Held(NamedTuple):
    resume: Callable[[], None]
    size: int
    since: float


class Sharing:
    """Finds out whose turn a request is, and keeps images of ``every`` until they are computed.

    The images that it holds are those of others; whoever has them gives them up only when the
    broker has a feature of the part, so a node that dies loses none. Safe to use from several
    threads.

    Args:
        served: status of what this node serves.
        transport: a connection that is not started.
        topics: topics of the fleet.
        every: whether some camera is of ``every``.
        mailbox: has the room for what is held.
        counters: count what does not parse.
        on_done: called with a request that another node has computed; on the network thread.
    """

    def __init__(
        self,
        served: NodeStatus,
        transport: Transport,
        *,
        topics: Topics,
        every: bool,
        mailbox: Mailbox,  # type: ignore[type-arg] # of whatever
        counters: Counters,
        on_done: Callable[[bytes], None],
    ) -> None:
        self._transport = transport
        self._topics = topics
        self._every = every
        self._mailbox = mailbox
        self._counters = counters
        self._on_done = on_done
        self._companions = Companions(served.node, seat_of(served))
        self._fingerprint = bytes.fromhex(served.fingerprint)
        self._name = served.node
        self._held: dict[bytes, _Held] = {}
        self._done: OrderedDict[bytes, None] = OrderedDict()
        self._awaited = Awaited()
        self._listening: set[str] = set()
        self._connected_at = time.monotonic()
        self._lock = threading.Lock()
        self.shares = not every
        transport.subscribe(topics.node_statuses, self._on_status, required=False)

    @property
    def replicas(self) -> int:
        """How many nodes share the part's requests, this one included."""
        with self._lock:
            return 1 + len(self._companions.alive(time.monotonic()))

    def serve(self, served: NodeStatus) -> None:
        """Go over to another part or bundle."""
        with self._lock:
            self._companions.seat = seat_of(served)
            self._fingerprint = bytes.fromhex(served.fingerprint)
            self._done.clear()

    def is_ours(self, request_id: bytes) -> bool:
        """Whether this node computes a request; one that is catching up computes all."""
        with self._lock:
            return self._is_ours(request_id, time.monotonic())

    def is_done(self, request_id: bytes) -> bool:
        """Whether another node has computed a request, or all crops of an image."""
        with self._lock:
            done = self._awaited.is_done(request_id)
            return request_id in self._done if done is None else done

    def expect(self, image: bytes, requests: Sequence[bytes]) -> None:
        """Let an image count as computed when all of ``requests``, those of its crops, are."""
        with self._lock:
            self._awaited.expect(image, [r for r in requests if r not in self._done])

    def enough(self, request_id: bytes) -> None:
        """A request needs no further part, so its image need not be kept."""
        with self._lock:
            held = self._held.pop(request_id, None)
        if held is not None:
            self._mailbox.release(held.size)
            self._on_done(request_id)

    def hold(self, request_id: bytes, size: int, resume: Callable[[], None]) -> bool:
        """Keep another node's image of ``every`` in case that it is never computed.

        Args:
            request_id: its request.
            size: bytes that it takes.
            resume: called, on any thread, when it is this node's turn after all.

        Returns:
            False if there is no room.
        """
        if not self._mailbox.reserve(size):
            return False
        with self._lock:
            self._held[request_id] = _Held(resume, size, time.monotonic())
        return True

    def connected(self) -> None:
        """A new connection: what waited at the broker comes first."""
        with self._lock:
            self._connected_at = time.monotonic()
            self.shares = not self._every

    def work(self, unfinished: int) -> None:
        """Take the turns that came; called often.

        Args:
            unfinished: images that are not acknowledged.
        """
        now = time.monotonic()
        with self._lock:
            age_s = now - self._connected_at
            shortest, longest = CATCH_UP_S
            few = age_s > shortest and unfinished - len(self._held) < _NEARLY_DONE
            self.shares = self.shares or few or age_s > longest
        self._take_turns(now)

    def _is_ours(self, request_id: bytes, now: float) -> bool:
        return not self.shares or self._companions.rank(request_id, now) == 0

    def _take_turns(self, now: float) -> None:
        with self._lock:
            due = [
                request_id
                for request_id, held in self._held.items()
                if now - held.since >= HOLD_S * self._companions.rank(request_id, now)
            ]
            ready = [self._held.pop(request_id) for request_id in due]
        for held in ready:
            self._mailbox.release(held.size)
            held.resume()

    def _on_status(self, message: Message) -> None:
        now = time.monotonic()
        try:
            node = self._topics.node_of(message.topic)
            if node == self._name:
                return
            with self._lock:
                self._companions.hear(node, message.payload, now)
                is_new = node in self._companions.alive(now) and node not in self._listening
                if self._every and is_new:
                    self._listening.add(node)
        except InputError as error:
            self._counters.refuse(error, f"message on {message.topic[:100]!r}")
            return
        if self._every and is_new:
            topic = self._topics.feature("+", node)
            self._transport.subscribe(topic, self._on_feature, required=False)
        self._take_turns(now)

    def _on_feature(self, message: Message) -> None:
        """Let go of an image: the broker has the feature that another node computed."""
        now = time.monotonic()
        try:
            node = self._topics.node_of(message.topic)
            identity = read_identity(message.payload)
        except InputError as error:
            self._counters.refuse(error, f"message on {message.topic[:100]!r}")
            return
        with self._lock:
            seat = self._companions.seat
            if node not in self._companions.alive(now) or (identity.fingerprint, identity.part) != (
                self._fingerprint,
                seat.part,
            ):
                return
            self._done[identity.request_id] = None
            if len(self._done) > _REMEMBERED:
                self._done.popitem(last=False)
            image = self._awaited.seen(identity.request_id)
            held = self._held.pop(image, None) if image is not None else None
        if held is not None:
            self._mailbox.release(held.size)
        if image is not None:
            self._on_done(image)
