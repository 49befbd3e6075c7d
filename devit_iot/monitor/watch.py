"""Looks on at a fleet: for commands that show what it publishes."""

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from devit_iot.errors import BrokerError
from devit_iot.transport.base import Message, Transport
from devit_iot.transport.refusals import Refusal


class Watch:
    """A connection that only listens, inside a ``with`` block; it heals itself.

    Args:
        transport: a connection that is not started.
        filters: MQTT filters of the topics to listen to.
        on_message: called on the network thread.
        on_ready: called on the network thread after each (re)connection.
    """

    def __init__(
        self,
        transport: Transport,
        filters: Iterable[str],
        on_message: Callable[[Message], None],
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._transport = transport
        self._on_ready = on_ready
        self._answered = threading.Event()
        self._refusal = Refusal(self._answered.set)
        for topic_filter in filters:
            transport.subscribe(topic_filter, on_message, qos=1)

    def __enter__(self) -> Self:
        self._transport.start(on_ready=self._ready, on_refused=self._refusal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._transport.stop()

    @property
    def connected(self) -> bool:
        """Whether the broker is there now."""
        return self._transport.connected

    def wait_ready(self, seconds: float) -> None:
        """Wait for the first connection.

        Raises:
            BrokerError: it is refused, or does not come in time.
        """
        in_time = self._answered.wait(seconds)
        self.check()
        if not in_time:
            raise BrokerError(
                f"no answer from the broker within {seconds:g} s: check --broker, and that it runs"
            )

    def check(self) -> None:
        """Raise BrokerError if the broker refused us for good."""
        self._refusal.check()

    def _ready(self) -> None:
        self._on_ready()
        self._answered.set()
