"""The process that keeps pictures with their features, and lets a person teach from them."""

import contextlib
import logging
import queue
import re
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from devit_iot.collect.album import Album, NewPicture
from devit_iot.collect.pending import Pending, Whole
from devit_iot.collect.teacher import Teacher
from devit_iot.config.collect import CollectConfig
from devit_iot.datasets.thumbnail import thumbnail
from devit_iot.errors import DataError, InputError, MessageError
from devit_iot.protocol.feature import Feature
from devit_iot.protocol.image_message import unwrap_image
from devit_iot.protocol.label import Label
from devit_iot.protocol.request import request_id
from devit_iot.protocol.teaching import TeachAnswer, TeachState, decode_ask
from devit_iot.protocol.topics import ImageFilter, Topics
from devit_iot.service.counters import Counters
from devit_iot.teach.cache import picture_key
from devit_iot.teach.live_heads import LiveHeads
from devit_iot.transport.base import Message, Transport
from devit_iot.transport.refusals import Refusal

logger = logging.getLogger(__name__)

_TURN_S = 0.1
_STATE_S = 1.0
_MAX_WAITING = 64
_TAB = re.compile(r"[0-9a-f]{8}")
_MAX_IMAGE_BYTES = 16 * 2**20
_FULL = "too much to do: ask again"


class Collector:
    """Keeps pictures until :meth:`stop`, and answers who teaches.

    The network thread puts pictures, features and labels together; all else is done by the thread
    of :meth:`run`, so a slow disk holds up no message.

    Args:
        album: where pictures are kept.
        transport: a connection that is not started; its will says that nothing is collected.
        topics: the fleet's topics.
        images: filters of images.
        config: what is kept.
        key: private key in PEM that signs heads; empty: they are not signed.
        can_fit: whether heads can be fitted here.
    """

    def __init__(
        self,
        album: Album,
        transport: Transport,
        *,
        topics: Topics,
        images: Sequence[ImageFilter],
        config: CollectConfig,
        key: bytes,
        can_fit: bool,
    ) -> None:
        self._album = album
        self._transport = transport
        self._topics = topics
        self._config = config
        self._can_fit = can_fit
        self._lock = threading.Lock()
        self._pending = Pending()
        self._kept_at: dict[str, float] = {}
        self._todo: queue.Queue[Callable[[], None]] = queue.Queue(_MAX_WAITING)
        self._fitted: queue.Queue[Callable[[], None]] = queue.Queue()
        self._stopping = False
        self._refusal = Refusal(self.stop)
        self._problem = ""
        self._said: TeachState | None = None
        self._say_at = 0.0
        self.counters = Counters(logger)
        self._teacher = Teacher(
            album, LiveHeads(transport, topics), key=key, later=self._fitted.put
        )
        for image_filter in images:
            take = partial(self._guarded, partial(self._on_image, image_filter))
            transport.subscribe(image_filter.mqtt, take)
        transport.subscribe(topics.features("+"), partial(self._guarded, self._on_feature))
        transport.subscribe(topics.labels, partial(self._guarded, self._on_label))
        transport.subscribe(topics.teach_ask("+"), partial(self._guarded, self._on_ask), qos=1)

    def run(self) -> None:
        """Collect until :meth:`stop`.

        Raises:
            BrokerError: the broker refused us for good.
        """
        self._transport.start(on_ready=self._connected, on_refused=self._refusal)
        try:
            while not self._stopping:
                self._turn()
        finally:
            self._publish(TeachState(collecting=False))
            self._transport.stop()
            self._album.close()
        self._refusal.check()

    def stop(self) -> None:
        """Make :meth:`run` return soon."""
        self._stopping = True

    def _turn(self) -> None:
        with contextlib.suppress(queue.Empty):
            self._todo.get(timeout=_TURN_S)()
        self._take_whole()
        while not self._fitted.empty():
            self._fitted.get()()
        self._teacher.look()
        self._say()

    def _connected(self) -> None:
        self._said = None

    def _say(self) -> None:
        """Publish what is kept if it changed, once a second at most."""
        now = time.monotonic()
        if now < self._say_at or not self._transport.connected:
            return
        self._say_at = now + _STATE_S
        config = self._config
        try:
            cameras = self._album.counts()
        except DataError as error:
            self._problem, cameras = str(error), {}
        state = TeachState(
            collecting=True,
            cameras=cameras,
            size=self._album.size,
            last=config.last,
            least_certain=config.least_certain,
            max_mib=config.max_mib,
            max_days=config.max_days,
            can_fit=self._can_fit,
            problem=self._problem,
            dropped=self._pending.dropped + self.counters["dropped"],
            refused=self.counters.refused,
        )
        if state != self._said:
            self._said = state
            self._publish(state)

    def _publish(self, state: TeachState) -> None:
        self._transport.publish(self._topics.teach_state, state.encode(), qos=1, retain=True)

    def _guarded(self, take: Callable[[Message], None], message: Message) -> None:
        """Take a message on the network thread; a bad one is counted."""
        if message.is_deletion:
            return
        try:
            with self._lock:
                take(message)
        except InputError as error:
            self.counters.refuse(error, f"message on {message.topic[:100]!r}")
        self._take_whole()

    def _take_whole(self) -> None:
        """Hand over the pictures that are whole; on both threads, as a label may never come."""
        now = time.monotonic()
        with self._lock:
            found = self._pending.due(now)
        for whole in found:
            if now - self._kept_at.get(whole.camera, -1e9) < self._config.interval_s:
                continue
            try:
                self._todo.put_nowait(partial(self._keep, whole, time.time()))
            except queue.Full:
                self.counters.count("dropped")
                continue
            self._kept_at[whole.camera] = now
            while len(self._kept_at) > 2 * self._config.max_cameras:
                del self._kept_at[next(iter(self._kept_at))]

    def _on_image(self, image_filter: ImageFilter, message: Message) -> None:
        if message.retained:
            return
        if len(message.payload) > _MAX_IMAGE_BYTES:
            raise MessageError("too_large", f"image of {len(message.payload)} bytes")
        route = image_filter.match(message.topic)
        if route is not None:
            found = route.request_id or request_id(message.topic, message.payload)
            file = unwrap_image(message.payload)
            self._pending.image(found, route.camera, file, time.monotonic())

    def _on_feature(self, message: Message) -> None:
        if not message.retained:
            self._pending.feature(Feature.decode(message.payload), time.monotonic())

    def _on_label(self, message: Message) -> None:
        if not message.retained:
            self._pending.label(Label.decode(message.payload), time.monotonic())

    def _on_ask(self, message: Message) -> None:
        tab = self._topics.last_level(message.topic)
        if message.retained or not _TAB.fullmatch(tab):
            raise MessageError("tab", "no ask of a tab that is open")
        ask = decode_ask(message.payload)
        answer = partial(self._answer, self._topics.teach_answer(tab))
        try:
            self._todo.put_nowait(partial(self._teacher.take, ask, answer))
        except queue.Full:
            answer(TeachAnswer(ask.id, _FULL))
            raise MessageError("overload", _FULL) from None

    def _answer(self, topic: str, answer: TeachAnswer) -> None:
        try:
            self._transport.publish(topic, msgspec.json.encode(answer), qos=1)
        except MessageError as error:
            self.counters.refuse(error, "an answer")

    def _keep(self, whole: Whole, at: float) -> None:
        """Write a picture; one that cannot be kept is counted, and said."""
        try:
            kept = self._album.add(_new_picture(whole, at))
        except InputError as error:
            self.counters.refuse(error, f"picture of camera {whole.camera!r}")
        except DataError as error:
            self.counters.refuse(MessageError("kept", str(error)), "picture")
            self._problem = " ".join(str(error).split())[:500]
        else:
            self._problem = ""
            self.counters.count("kept" if kept else "repeated")


def _new_picture(whole: Whole, at: float) -> NewPicture:
    first, label = whole.features[0], whole.label
    if not first.parts_fingerprint:
        raise MessageError("parts", "a node of an older release does not name its parts")
    return NewPicture(
        camera=whole.camera,
        at=at,
        key=picture_key(whole.file),
        label="" if label is None else label.label[:256],
        confidence=None if label is None else label.confidence,
        parts=first.parts_fingerprint.hex(),
        features=[whole.features[part].values for part in range(first.parts)],
        small=thumbnail(whole.file),
        file=whole.file,
    )
