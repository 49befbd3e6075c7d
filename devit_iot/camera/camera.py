"""A camera for those who have none that speaks MQTT: publishes images at a steady rate."""

import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial

from devit_iot.camera.source import CameraImage
from devit_iot.config.config import Delivery
from devit_iot.errors import BrokerError, DataError, MessageError
from devit_iot.protocol.topics import REQUEST_LEVEL
from devit_iot.transport.base import Transport
from devit_iot.transport.refusals import Refusal

logger = logging.getLogger(__name__)

MAX_UNACKNOWLEDGED = 20
"""Images of ``every`` that are published before the camera waits for acknowledgements."""

MOVE_S = 10.0
"""Seconds within which another broker must answer before a camera moves to it."""

_CHECK_S = 0.1
_ADVICE = "--size makes images smaller"


class Camera:
    """Publishes images at a steady rate.

    Args:
        images: what to publish.
        transport: a connection that is not started.
        topic: a ``{request}`` level becomes a fresh request id for each image.
        rate: images per second; ``inf`` for as fast as the broker takes them.
        delivery: ``every`` publishes at QoS 1, again after each reconnection, until the broker has
            acknowledged all; ``latest`` at QoS 0, which drops images while the broker is away.
        on_published: called with the image and its topic just before each publish.
        on_stop: called by :meth:`stop`, to end images that are waited for.
    """

    def __init__(
        self,
        images: Iterator[CameraImage],
        transport: Transport,
        *,
        topic: str,
        rate: float,
        delivery: Delivery = "latest",
        on_published: Callable[[CameraImage, str], None] | None = None,
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._images = images
        self._transport = transport
        self._left: list[Transport] = []  # brokers that have not everything on their disk yet
        self._unsent = 0
        self._moving = threading.Lock()
        self._topic = topic
        self._interval_s = 0.0 if math.isinf(rate) else 1.0 / rate
        self._every = delivery == "every"
        self._on_published = on_published or _log
        self._on_stop = on_stop
        self._room = threading.Semaphore(MAX_UNACKNOWLEDGED)
        self._acknowledged = 0
        self._tried = 0
        self._left_out = 0
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._refusal = Refusal(self.stop)

    def run(self) -> int:
        """Publish until the images end or :meth:`stop`; return how many were published.

        A camera of ``every`` returns when the broker has all images on its disk. An image that the
        broker does not take is left out and counted.

        Raises:
            BrokerError: the broker refused us for good, it did not acknowledge each image of
                ``every``: it refused one, or :meth:`stop` came first; or it took none.
            DataError: the images ended before the first one.
        """
        self._transport.start(on_ready=self._ready.set, on_refused=self._refusal)
        try:
            self._ready.wait()
            self._publish_all()
            self._wait_persisted()
        finally:
            with self._moving:
                for transport in (*self._left, self._transport):
                    transport.stop()
        self._refusal.check()
        return self._account()

    def stop(self) -> None:
        """Make :meth:`run` return after the image in progress."""
        self._stopping.set()
        self._ready.set()
        self._on_stop()

    def move(self, transport: Transport, *, wait_s: float = MOVE_S) -> None:
        """Publish to another broker, from the next image on; call it while :meth:`run` runs.

        Each image goes to one broker. The one before keeps its connection until it has all images
        of ``every`` on its disk.

        Args:
            transport: a connection that is not started.
            wait_s: seconds within which it must be there.

        Raises:
            BrokerError: the other broker refuses us, or is not there; then nothing changes.
        """
        answered = threading.Event()
        refusal = Refusal(answered.set)
        transport.start(on_ready=answered.set, on_refused=refusal)
        in_time = answered.wait(wait_s)
        if not in_time or refusal.came:
            transport.stop()
            refusal.check()
            raise BrokerError(f"no answer from the other broker within {wait_s:g} s")
        with self._moving:
            if self._stopping.is_set():
                transport.stop()
                return
            self._left.append(self._transport)
            self._transport = transport

    def _leave(self) -> None:
        """Let those brokers go that have everything."""
        with self._moving:
            for transport in [old for old in self._left if old.persisted]:
                self._left.remove(transport)
                self._unsent += transport.unsent
                transport.stop()

    def _publish_all(self) -> None:
        due = time.monotonic()
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            self._leave()
            image = next(self._images, None)
            if image is None or not self._wait_room():
                break
            self._publish(image)
            due = max(due + self._interval_s, time.monotonic() - self._interval_s)

    def _publish(self, image: CameraImage) -> None:
        """Publish it, unless the broker does not take it."""
        self._tried += 1
        topic = self._topic.replace(REQUEST_LEVEL, uuid.uuid4().hex)
        self._on_published(image, topic)
        with self._moving:
            transport = self._transport
        try:
            if self._every:
                transport.publish(
                    topic,
                    image.payload,
                    qos=1,
                    on_puback=self._on_puback,
                    on_given_up=partial(self._leave_out, image),
                )
            else:
                transport.publish(topic, image.payload)
        except MessageError as error:
            self._leave_out(image, error)

    def _wait_room(self) -> bool:
        """Wait while too many images are under way; False if there is nothing to wait for."""
        if not self._every:
            return True
        while self._worthwhile():
            if self._room.acquire(timeout=_CHECK_S):
                return True
        return False

    def _wait_persisted(self) -> None:
        if not self._every or self._persisted():
            return
        logger.info("published all; waiting until the broker has them on its disk")
        while self._worthwhile() and not self._persisted():
            self._stopping.wait(_CHECK_S)

    def _persisted(self) -> bool:
        self._leave()
        return not self._left and self._transport.persisted

    def _worthwhile(self) -> bool:
        """Whether acknowledgements may still come: the broker refuses the next image too."""
        refused = any(transport.refused for transport in (*self._left, self._transport))
        return not self._stopping.is_set() and not refused

    def _on_puback(self) -> None:
        self._acknowledged += 1
        self._room.release()

    def _leave_out(self, image: CameraImage, error: MessageError) -> None:
        logger.warning("%s: left out: %s; %s", image.name, error, _ADVICE)
        self._left_out += 1
        if self._every:
            self._room.release()

    def _account(self) -> int:
        """Say what became of all images; return how many were published."""
        published = self._tried - self._left_out
        if not self._tried and not self._stopping.is_set():
            raise DataError("there was no image to publish")
        if self._left_out:
            lost = f"{self._left_out} of {self._tried} images were left out"
            if self._every:
                raise BrokerError(f"{lost}, {self._acknowledged} acknowledged; {_ADVICE}")
            if not published:
                raise BrokerError(f"{lost}; {_ADVICE}")
            logger.warning("%s; %s", lost, _ADVICE)
        if self._every:
            count = f"the broker acknowledged {self._acknowledged} of {published} images"
            if self._acknowledged < published:
                problem = self._transport.problem
                raise BrokerError(f"{count}: {problem}" if problem else count)
            logger.info("%s", count)
        elif unsent := self._unsent + self._transport.unsent:
            logger.warning(
                "%d of %d images were dropped: the broker was away or the link too slow",
                unsent,
                published,
            )
        return published


def _log(image: CameraImage, topic: str) -> None:
    logger.info("%s -> %s (%d bytes)", image.name, topic, len(image.payload))
