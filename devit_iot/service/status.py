"""Publishes a service's retained status: on connecting, when it changes, and as a heartbeat."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from devit_iot.errors import BrokerError
from devit_iot.protocol.status import HEARTBEAT_S, AggregatorStatus, NodeStatus, State
from devit_iot.transport.base import Message, Transport

logger = logging.getLogger(__name__)

INTERVAL_S = 1.0
ECHO_S = 5.0

EARLIEST = 1_735_689_600  # 2025-01-01, Unix seconds: before this software
_ALWAYS_NEW = ("uptime_s", "cpu_s", "energy_j")  # no reason to say a status again

_DEAF = "the broker grants our subscriptions and delivers nothing"
_CLOCK = "the clock is wrong: it says a day before 2025"


class StatusReporter:
    """Says how a service fares; its last will says the rest.

    It also listens to what it says: some brokers grant a subscription that their access list
    forbids, and deliver nothing, which nobody would notice otherwise.

    Args:
        transport: where to publish.
        topic: the service's status topic.
        snapshot: the current status, given the state and the age in seconds.
    """

    def __init__(
        self,
        transport: Transport,
        topic: str,
        snapshot: Callable[[State, float], NodeStatus | AggregatorStatus],
    ) -> None:
        self._transport = transport
        self._topic = topic
        self._snapshot = snapshot
        self._started = time.monotonic()
        self._shown: NodeStatus | AggregatorStatus | None = None
        self._latest: NodeStatus | AggregatorStatus | None = None
        self._refreshed_at = self._started
        self._echo_until: float | None = None  # while it is awaited
        self._deaf = False
        transport.subscribe(topic, self._on_echo)

    @property
    def problem(self) -> str:
        """What is wrong now, in words; empty if nothing is."""
        if self._deaf:
            return _DEAF
        return _CLOCK if time.time() < EARLIEST else self._transport.problem

    @contextmanager
    def connected(
        self,
        on_refused: Callable[[BrokerError], None],
        on_ready: Callable[[], None] = lambda: None,
        *,
        on_connected: Callable[[], None] = lambda: None,
    ) -> Iterator[None]:
        """Be connected and announced inside the block; say goodbye after it.

        Args:
            on_refused: called if the broker refuses us for good, see
                :meth:`devit_iot.transport.base.Transport.start`.
            on_ready: called after each (re)connection, when ``online`` was said.
            on_connected: called after each (re)connection, before ``online`` is said.
        """

        def announce() -> None:
            on_connected()
            self._announce()
            on_ready()

        self._transport.start(on_ready=announce, on_refused=on_refused)
        try:
            yield
        finally:
            self.goodbye()
            self._transport.stop()

    def _announce(self) -> None:
        """Say ``online``: after each connect, since the will may have said otherwise."""
        self._deaf = False
        self._echo_until = time.monotonic() + ECHO_S
        self._publish("online")

    def _on_echo(self, _message: Message) -> None:
        self._echo_until = None

    @property
    def latest(self) -> NodeStatus | AggregatorStatus | None:
        """The status of about a second ago, also while the broker is away; for other threads."""
        return self._latest

    def health_problem(self, limit_s: float) -> str:
        """Why the service does not do its work, for other threads; empty if it does.

        Args:
            limit_s: the longest time between two calls of :meth:`refresh`.
        """
        idle_s = time.monotonic() - self._refreshed_at
        if idle_s > limit_s:
            return f"no progress for {idle_s:.0f} s"
        if not self._transport.connected:
            return "no connection to the broker"
        return _DEAF if self._deaf else ""

    def refresh(self) -> None:
        """Publish a status that changed, at most once a second, or is 15 s old."""
        self._refreshed_at = now = time.monotonic()
        uptime_s = self._age()
        if self._latest is None or uptime_s - self._latest.uptime_s >= INTERVAL_S:
            self._latest = self._status("online")
        if self._shown is None:  # not connected yet
            return
        if self._echo_until is not None and now > self._echo_until:
            self._echo_until = None
            self._deaf = True
            logger.error("%s: not even our own status; check its access list", _DEAF)
        age = uptime_s - self._shown.uptime_s
        if age < INTERVAL_S:
            return
        shown = msgspec.structs.asdict(self._shown)
        same = {name: shown[name] for name in _ALWAYS_NEW if name in shown}
        latest = msgspec.structs.replace(self._latest, **same)
        if age >= HEARTBEAT_S or latest != self._shown:
            self._publish("online")

    def goodbye(self) -> None:
        """Say ``offline`` before a clean disconnect, which cancels the will."""
        if self._shown is not None:
            self._publish("offline")

    def _publish(self, state: State) -> None:
        self._shown = self._status(state)
        self._transport.publish(self._topic, self._shown.encode(), qos=1, retain=True)

    def _status(self, state: State) -> NodeStatus | AggregatorStatus:
        status = self._snapshot(state, self._age())
        return msgspec.structs.replace(status, cpu_s=round(time.process_time(), 2))

    def _age(self) -> float:
        return round(time.monotonic() - self._started, 1)
