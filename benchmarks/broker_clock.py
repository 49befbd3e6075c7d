"""A connection to a broker that stamps what it hears, beside what it publishes."""

import queue
import time
from collections.abc import Callable, Mapping
from typing import Generic, Self, TypeVar

from devit_iot.config.config import BrokerConfig
from devit_iot.errors import BrokerError
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message
from devit_iot.transport.mqtt import MqttTransport

WAIT_S = 60.0

T = TypeVar("T")


class BrokerClock(Generic[T]):
    """Hears messages of one fleet with their times; connected once it is made, until ``with`` ends.

    Args:
        url: the broker.
        fleet: the fleet's name.
        decoders: topic filter -> what reads the payloads of its messages.

    Attributes:
        transport: the connection.
        heard: monotonic seconds and what came then.

    Raises:
        BrokerError: the broker refused it.
    """

    def __init__(self, url: str, fleet: str, decoders: Mapping[str, Callable[[bytes], T]]) -> None:
        self.heard: queue.Queue[tuple[float, T]] = queue.Queue()
        ready: queue.Queue[BrokerError | None] = queue.Queue()
        client_id = Topics(fleet).command_client_id("clock", "0")
        self.transport = MqttTransport(BrokerConfig(url=url), client_id=client_id)
        for topic_filter, decode in decoders.items():
            self.transport.subscribe(topic_filter, self._taker(decode))
        self.transport.start(on_ready=lambda: ready.put(None), on_refused=ready.put)
        refused = ready.get(timeout=WAIT_S)
        if refused is not None:
            raise refused

    def _taker(self, decode: Callable[[bytes], T]) -> Callable[[Message], None]:
        return lambda message: self.heard.put((time.monotonic(), decode(message.payload)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.transport.stop()
