"""A client that counts the images of one camera."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from devit_iot.config.config import BrokerConfig
from devit_iot.transport.base import Message, Session
from devit_iot.transport.mqtt import MqttTransport

TOPIC = "cameras/line/image/{request}"


@contextmanager
def subscriber(url: str) -> Iterator[set[str]]:
    """The topics of all images that arrive."""
    topics: set[str] = set()

    def on_image(message: Message) -> None:
        topics.add(message.topic)

    config = BrokerConfig(url=url)
    transport = MqttTransport(config, client_id="subscriber", session=Session(60, 100))
    transport.subscribe(TOPIC.replace("{request}", "+"), on_image, qos=1)
    ready = threading.Event()
    transport.start(on_ready=ready.set, on_refused=lambda _error: None)
    assert ready.wait(20)
    try:
        yield topics
    finally:
        transport.stop()
