"""Publishes a service's retained status: on connecting, when it changes, and as a heartbeat."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from devit_iot.errors import BrokerError
from devit_iot.messages import AggregatorStatus, NodeStatus, State
from devit_iot.transport.base import Transport

HEARTBEAT_S = 15.0
INTERVAL_S = 1.0


class StatusReporter:
    """Says how a service fares; its last will says the rest.

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

    @contextmanager
    def connected(self, on_refused: Callable[[BrokerError], None]) -> Iterator[None]:
        """Be connected and announced inside the block; say goodbye after it."""
        self._transport.start(on_ready=self._announce, on_refused=on_refused)
        try:
            yield
        finally:
            self.goodbye()
            self._transport.stop()

    def _announce(self) -> None:
        """Say ``online``: after each connect, since the will may have said otherwise."""
        self._publish("online")

    def refresh(self) -> None:
        """Publish a status that changed, at most once a second, or is 15 s old."""
        if self._shown is None:  # not connected yet
            return
        age = self._age() - self._shown.uptime_s
        if age < INTERVAL_S:
            return
        now = self._snapshot("online", self._shown.uptime_s)
        if age >= HEARTBEAT_S or now != self._shown:
            self._publish("online")

    def goodbye(self) -> None:
        """Say ``offline`` before a clean disconnect, which cancels the will."""
        if self._shown is not None:
            self._publish("offline")

    def _publish(self, state: State) -> None:
        self._shown = self._snapshot(state, self._age())
        self._transport.publish(self._topic, self._shown.encode(), qos=1, retain=True)

    def _age(self) -> float:
        return round(time.monotonic() - self._started, 1)
