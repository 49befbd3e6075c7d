"""QoS 0 messages that the connection has not taken yet: bounded, since a dead one takes none."""

import threading
from collections import deque

from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode

MAX_BYTES = 2**20

_SUCCESS = MQTTErrorCode.MQTT_ERR_SUCCESS


class Backlog:
    """Publishes at QoS 0 while less than a mebibyte of earlier messages waits.

    A link that is cut without a word is noticed after 1.5 keepalives. Until then paho would queue
    without limit, and send all of it, long out of date, if the link came back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[paho.MQTTMessageInfo, int]] = deque()
        self._bytes = 0

    def publish(self, client: paho.Client, topic: str, payload: bytes, *, retain: bool) -> int:
        """Hand a message over, unless it would be too much.

        Returns:
            How many messages are lost: this one, and earlier ones that went with their connection.
        """
        size = len(topic) + len(payload)
        with self._lock:
            lost = self._prune()
            if self._waiting and self._bytes + size > MAX_BYTES:
                return lost + 1
            info = client.publish(topic, payload, retain=retain)
            if info.rc != _SUCCESS:
                return lost + 1
            self._waiting.append((info, size))
            self._bytes += size
            return lost

    def lost(self) -> int:
        """The connection ended: how many messages are lost with it."""
        with self._lock:
            lost = sum(info.rc != _SUCCESS or not info.is_published() for info, _ in self._waiting)
            self._waiting.clear()
            self._bytes = 0
            return lost

    def _prune(self) -> int:
        lost = 0
        while self._waiting:
            info, size = self._waiting[0]
            if info.rc == _SUCCESS and not info.is_published():
                break
            lost += info.rc != _SUCCESS  # what waited when the connection ended
            self._waiting.popleft()
            self._bytes -= size
        return lost
