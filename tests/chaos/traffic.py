"""Two steady cameras, one of each delivery, and a viewer that times the labels."""

import time
import uuid
from collections.abc import Callable
from itertools import cycle
from typing import NamedTuple

from devit_iot.protocol.label import Label
from devit_iot.transport.base import Message
from tests.chaos.clients import WAIT_S, Client
from tests.e2e.watching import IMAGES
from tests.support.fleets import wait_until

CONFIG = """\
[log]
level = "warning"

[broker]
session_s = 60  # for how long an aggregator remembers answered requests: full after a minute

[[images]]
topic = "latest/{camera}/{request}"

[[images]]
topic = "every/{camera}/{request}"
delivery = "every"
"""
KINDS = ("latest", "every")
_OPEN = 16
_MOST_OPEN = 500
"""Images of ``every`` without a label: beyond it the cameras wait, on a machine that became slower.
The broker's queue holds 2000."""


class Age(NamedTuple):
    """When a label came, monotonic seconds, and how long its image took to it."""

    when: float
    seconds: float


class Traffic(Client):
    """Publishes the demo's images and remembers nothing of them but when they were answered.

    Attributes:
        sent: images by camera; the cameras are called like their delivery.
        ages: ages of the first label of each image, by camera.
        again: labels beyond the first of their image.
        degraded: first labels that lack a part.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, 60)
        self.sent = dict.fromkeys(KINDS, 0)
        self.ages: dict[str, list[Age]] = {kind: [] for kind in KINDS}
        self.again = 0
        self.degraded = 0
        self._payloads = cycle([image.payload for image in IMAGES])
        self._open: dict[str, tuple[str, float]] = {}

    def capacity(self, count: int) -> float:
        """Images per second while 16 requests of ``every`` are always open."""
        begin = time.monotonic()
        for _ in range(count):
            wait_until(lambda: len(self._open) < _OPEN, WAIT_S)
            self._publish("every")
        wait_until(lambda: not self._open, WAIT_S)
        rate = count / (time.monotonic() - begin)
        self.sent = dict.fromkeys(KINDS, 0)
        self.ages = {kind: [] for kind in KINDS}
        return rate

    def run(self, seconds: float, rate: float, tick: Callable[[float], None]) -> None:
        """Publish ``rate`` images a second, of each camera in turn, and call ``tick`` as often."""
        begin = due = time.monotonic()
        kinds = cycle(KINDS)
        while (now := time.monotonic()) < begin + seconds:
            tick(now - begin)
            if self.sent["every"] - len(self.ages["every"]) < _MOST_OPEN:
                self._publish(next(kinds))
            due = max(due + 1 / rate, now)
            time.sleep(max(0.0, due - time.monotonic()))

    @property
    def unanswered(self) -> int:
        """Images of ``every`` without a label."""
        return sum(kind == "every" for kind, _ in list(self._open.values()))

    def _publish(self, kind: str) -> None:
        request_id = uuid.uuid4().hex
        topic = f"{kind}/{kind}/{request_id}"
        self.sent[kind] += 1
        if kind == "every":
            self._take_turn()
        self._open[request_id] = (kind, time.monotonic())
        if kind == "every":
            self._publish_in_turn(topic, next(self._payloads))
        else:
            self._transport.publish(topic, next(self._payloads))

    def _on_label(self, message: Message) -> None:
        if message.retained:
            return
        now = time.monotonic()
        label = Label.decode(message.payload)
        kind, published = self._open.pop(label.request_id, ("", 0.0))
        if kind:
            self.ages[kind].append(Age(now, now - published))
            self.degraded += label.degraded
        else:
            self.again += 1
