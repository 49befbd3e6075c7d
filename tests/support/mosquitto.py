"""A real mosquitto, and clients that remember what it delivers."""

import os
import queue
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

from devit_iot.config.config import BrokerConfig
from devit_iot.errors import BrokerError
from devit_iot.transport.base import Message, Session, Will
from devit_iot.transport.mqtt import MqttTransport

PATHS = "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin:/bin"
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path=PATHS)
PASSWD = shutil.which("mosquitto_passwd") or shutil.which("mosquitto_passwd", path=PATHS)
needs_mosquitto = pytest.mark.skipif(
    MOSQUITTO is None or PASSWD is None, reason="mosquitto is not installed"
)
WAIT_S = 10.0


class Client:
    """A connected MqttTransport that remembers what it got."""

    def __init__(
        self,
        config: BrokerConfig,
        *filters: str,
        client_id: str = "",
        password: str | None = None,
        will: Will | None = None,
    ) -> None:
        self.inbox: queue.Queue[Message] = queue.Queue()
        self._outcome: queue.Queue[BrokerError | None] = queue.Queue()
        session = Session(max_packet=2**25)  # it takes images, as nodes do
        self.transport = MqttTransport(
            config, client_id=client_id, password=password, will=will, session=session
        )
        for topic_filter in filters:
            self.transport.subscribe(topic_filter, self.inbox.put, qos=1)

    def __enter__(self) -> Self:
        self.transport.start(on_ready=lambda: self._outcome.put(None), on_refused=self._outcome.put)
        try:
            error = self._outcome.get(timeout=WAIT_S)
        except queue.Empty:
            error = BrokerError("no answer")
        if error is not None:
            self.transport.stop()
            raise error
        return self

    def __exit__(self, *_: object) -> None:
        self.transport.stop()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.transport.publish(topic, payload, qos=1, retain=retain)

    def get(self) -> tuple[str, bytes]:
        message = self.inbox.get(timeout=WAIT_S)
        return message.topic, message.payload

    @property
    def connections(self) -> int:
        """How often it was connected."""
        return self._outcome.qsize() + 1


def listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 0.5):
            return True
    except OSError:
        return False


@contextmanager
def running_mosquitto(
    config: Path, ports: Sequence[int], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run mosquitto with the file ``config``; if we are root, as root: the files are ours only."""
    if os.geteuid() == 0:
        config.write_text(config.read_text() + "user root\n")
    with log.open("ab") as stderr:
        process = subprocess.Popen([str(MOSQUITTO), "-c", str(config)], stderr=stderr)
    try:
        deadline = time.monotonic() + WAIT_S
        while not all(listens(port) for port in ports):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        assert process.wait(WAIT_S) == 0
