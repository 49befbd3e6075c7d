"""Sends the nodes what is to be looked at, of cameras whose heads do not look at every image.

One place decides, so all nodes compute the same images: whenever they started, and whatever they
lost.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
from numpy.typing import NDArray

from devit_iot.aggregator.camera_shard import camera_shard
from devit_iot.aggregator.looks import Looks
from devit_iot.aggregator.observer import Nobody
from devit_iot.config.config import Config
from devit_iot.config.images import ImagesConfig
from devit_iot.engine.brightness import brightness
from devit_iot.errors import BrokerError, ImageError, InputError, MessageError
from devit_iot.protocol.crop import Crop
from devit_iot.protocol.image_message import unwrap_image
from devit_iot.protocol.looks import LookTopics
from devit_iot.protocol.request import request_id
from devit_iot.protocol.topics import ImageFilter
from devit_iot.service.after_all import AfterAll
from devit_iot.service.counters import Counters
from devit_iot.service.pending_acks import PendingAcks
from devit_iot.transport.base import Message, Transport

logger = logging.getLogger(__name__)


class Looker(Nobody):
    """Takes images of cameras, and publishes those again that are to be looked at, one per crop.

    It has a connection of its own, on whose network thread it works: a picture that is decoded
    holds up no feature. An image of ``every`` is acknowledged when the broker has what was made of
    it, so none is lost that was to be looked at.

    Args:
        config: which rectangles of which camera are looked at when, and what an image may have.
        transport: a connection that is not started.
        counters: count what is refused.
    """

    def __init__(self, config: Config, transport: Transport, counters: Counters) -> None:
        self._config = config
        self._choice = config.head_choice
        self._transport = transport
        self._topics = LookTopics(config.fleet)
        self._counters = counters
        self._looks = Looks()
        self._pending_acks = PendingAcks(transport)
        for entry in config.images:
            pattern, every = ImageFilter(entry.topic), entry.delivery == "every"
            take = partial(self._on_image, pattern, entry)
            transport.subscribe(pattern.mqtt, take, qos=int(every), manual_ack=every)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Work inside the block."""
        self._transport.start(on_ready=_ready, on_refused=self._on_refused)
        try:
            yield
        finally:
            self._transport.stop()

    def _on_refused(self, error: BrokerError) -> None:
        """Say so: labels of whole images go on without this connection."""
        where = "images that are looked at only sometimes; their heads answer nothing"
        self._counters.refuse(MessageError("looks", str(error)), where)

    def _on_image(self, pattern: ImageFilter, entry: ImagesConfig, message: Message) -> None:
        if message.is_deletion or (message.retained and not entry.retained):
            self._transport.acknowledge(message)
            return
        try:
            self._take(pattern, entry, message)
        except InputError as error:
            self._counters.refuse(error, f"image on {message.topic[:100]!r}")
            self._transport.acknowledge(message)

    def _take(self, pattern: ImageFilter, entry: ImagesConfig, message: Message) -> None:
        route = pattern.match(message.topic)
        rules = {} if route is None else self._choice.looks(route.camera)
        if route is None or not rules or not self._decides(route.camera):
            self._transport.acknowledge(message)
            return
        if len(message.payload) > self._config.node.max_payload_bytes:
            raise ImageError("too_large", f"payload of {len(message.payload)} bytes")
        image = route.request_id or request_id(message.topic, message.payload)
        if message.delivery is not None and not self._pending_acks.add(image, message):
            return  # it came again while the broker is getting what was made of it
        see = partial(self._brightness, entry, message.payload)
        now = time.monotonic()
        chosen = []
        for crop, rule in rules.items():
            try:
                if self._looks.judge(route.camera, crop, rule, now, see):
                    chosen.append(crop)
            except ImageError as error:
                self._counters.refuse(error, f"image on {message.topic[:100]!r}")
        self._send(image, route.camera, chosen, message)

    def _decides(self, camera: str) -> bool:
        """Whether this aggregator decides for ``camera``: two would not decide the same."""
        config = self._config
        return camera_shard(camera, config.shards) == config.aggregator.shard

    def _brightness(self, entry: ImagesConfig, payload: bytes, crop: Crop) -> NDArray[np.float32]:
        return brightness(
            unwrap_image(payload),
            crop=crop,
            max_pixels=self._config.node.max_pixels,
            take_incomplete=entry.incomplete == "take",
        )

    def _send(self, image: bytes, camera: str, crops: Sequence[Crop], message: Message) -> None:
        """Publish an image once for each crop; acknowledge it when the broker has them all."""
        acknowledge = partial(self._pending_acks.acknowledge, image)
        if not crops:
            acknowledge()
        after_all = AfterAll(crops, acknowledge)
        for crop in crops:
            topic, done = self._topics.look(crop, camera, image), partial(after_all.done, crop)
            give_up = partial(self._give_up, done)
            try:
                if message.delivery is None:
                    self._transport.publish(topic, message.payload)
                else:
                    self._transport.publish(
                        topic, message.payload, qos=1, on_puback=done, on_given_up=give_up
                    )
            except MessageError as error:
                give_up(error)

    def _give_up(self, done: Callable[[], None], error: MessageError) -> None:
        self._counters.refuse(error, "image that is to be looked at")
        done()


def _ready() -> None:
    logger.info("images are looked at when [crops] says so")
