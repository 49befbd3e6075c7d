"""Takes what a fleet announced to Home Assistant off the broker again."""

import threading
import time

from devit_iot.errors import BrokerError
from devit_iot.homeassistant import belongs_to, is_ours
from devit_iot.topics import DiscoveryTopics
from devit_iot.transport.base import Message, Transport

_READY_S = 10.0
_QUIET_S = 1.0
_LIMIT_S = 10.0


class Forgetting:
    """Finds the announcements of one fleet that the broker retains, and deletes them.

    What other programs announced, and other fleets, stays.

    Args:
        fleet: its name.
        transport: not started yet.
        topics: where Home Assistant looks for devices.
    """

    def __init__(self, fleet: str, transport: Transport, topics: DiscoveryTopics) -> None:
        self._fleet = fleet
        self._transport = transport
        self._topics = topics
        self._changed = threading.Condition()
        self._ready = False
        self._failure: BrokerError | None = None
        self._heard_at = 0.0
        self._retained: set[str] = set()
        transport.subscribe(topics.devices, self._on_announcement, qos=1)

    def run(self) -> list[str]:
        """Delete them and return their topics, sorted.

        Raises:
            BrokerError: no broker, it refused us, or it did not delete all of them.
        """
        self._transport.start(on_ready=self._on_ready, on_refused=self._on_refused)
        try:
            self._wait_ready()
            self._wait_quiet()
            with self._changed:
                found = sorted(self._retained)
            for topic in found:
                self._transport.publish(topic, b"", qos=1, retain=True, on_stored=lambda: None)
            self._wait_deleted(len(found))
        finally:
            self._transport.stop()
        return found

    def _wait_ready(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._failure, _READY_S)
            if self._failure is not None:
                raise self._failure
            if not self._ready:
                raise BrokerError(f"no answer from the broker within {_READY_S:g} s")

    def _wait_quiet(self) -> None:
        """Nothing says which retained message is the last one; they come without a pause."""
        limit = time.monotonic() + _LIMIT_S
        with self._changed:
            self._heard_at = time.monotonic()
            while (until := min(self._heard_at + _QUIET_S, limit)) > time.monotonic():
                self._changed.wait(until - time.monotonic())

    def _wait_deleted(self, count: int) -> None:
        """The broker sends us our own messages, unless it did not take them."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._retained, _LIMIT_S):
                raise BrokerError(
                    f"the broker did not delete {len(self._retained)} of {count} announcements: "
                    "its access list must let us write and read them"
                )

    def _on_announcement(self, message: Message) -> None:
        with self._changed:
            self._heard_at = time.monotonic()
            if not message.payload:
                self._retained.discard(message.topic)
            elif message.retained and self._is_ours(message):
                self._retained.add(message.topic)
            self._changed.notify_all()

    def _is_ours(self, message: Message) -> bool:
        device = self._topics.device_of(message.topic)
        return belongs_to(device, self._fleet) and is_ours(message.payload)

    def _on_ready(self) -> None:
        with self._changed:
            self._ready = True
            self._changed.notify_all()

    def _on_refused(self, error: BrokerError) -> None:
        with self._changed:
            self._failure = error
            self._changed.notify_all()
