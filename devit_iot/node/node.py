"""One edge node: images in, features of one part out."""

import logging
import time
from collections.abc import Callable
from functools import partial

import msgspec

from devit_iot.config.config import Config, ImagesConfig
from devit_iot.config.node import AUTO
from devit_iot.errors import ImageError, InputError, MessageError
from devit_iot.node.computing import Computed, Served, compute
from devit_iot.node.crops import Crops, look_images
from devit_iot.node.frame import Frame
from devit_iot.node.holding import Holding
from devit_iot.node.instruments import Instruments
from devit_iot.node.mailbox import Mailbox
from devit_iot.node.odd_images import note_deletion, warn_of_qos_0
from devit_iot.node.rate import RateLimit
from devit_iot.node.repeats import Repeats
from devit_iot.node.sharing import Sharing, fixed_share
from devit_iot.node.turns import turn_s
from devit_iot.node.watchdog import Watchdog
from devit_iot.protocol import request
from devit_iot.protocol.enough import decode_enough
from devit_iot.protocol.looks import LookTopics
from devit_iot.protocol.status import NodeStatus, State
from devit_iot.protocol.topics import ImageFilter, Topics
from devit_iot.service.after_all import after_all
from devit_iot.service.counters import Counters, Drops
from devit_iot.service.durations import Durations
from devit_iot.service.pending_acks import PendingAcks
from devit_iot.service.status import INTERVAL_S, StatusReporter
from devit_iot.transport.base import Message, Transport
from devit_iot.transport.refusals import Refusal

logger = logging.getLogger(__name__)

RECEIVE_MAXIMUM = 32
"""Images of ``every`` that the broker sends ahead of their acknowledgement, if it speaks MQTT 5."""


class Node:
    """Runs one part on camera images and publishes its features.

    It computes one of the newest images of a ``latest`` camera. It computes each image of an
    ``every`` camera, and lets the broker forget the image when the broker has the feature. The
    network thread only identifies a frame and hands it over; decoding and inference run in
    :meth:`run`.

    Args:
        served: its part, whose engine was proven on the golden image.
        transport: a connection that is not started; its will says that this node is offline.
        instruments: the board's sensors and its meter.
        exit_process: ends the process when an inference hangs; may be called on any thread.

    Attributes:
        reporter: publishes its status.
        durations: times that its images took: ``wait``, ``decode``, ``compute``.
    """

    def __init__(
        self,
        served: Served,
        transport: Transport,
        *,
        topics: Topics,
        config: Config,
        instruments: Instruments,
        exit_process: Callable[[], None],
    ) -> None:
        self._served = served
        self._transport = transport
        self._topics = topics
        self._config = config.node
        self._shards = config.shards
        self._frames: Mailbox[Frame] = Mailbox(
            config.node.max_cameras,
            max_queued_bytes=config.node.max_waiting_mib * 2**20,
            on_dropped=lambda frame: self._drops.count(frame.camera, "overload"),
        )
        self._pending_acks = PendingAcks(transport)
        self._holding: Holding[Frame] = Holding(config.node.max_waiting_mib * 2**20)
        self._redelivery_due = False  # an image was left with the broker
        self._redelivering = False  # a new connection asks for what was left
        self._counters = Counters(logger)
        self._drops = Drops()
        self._repeats = Repeats()
        self._crops = Crops(transport, topics, self._counters)
        self._refusal = Refusal(self.stop)
        self._serving: Frame | None = None
        self._instruments = instruments
        self._exit_process = exit_process
        self._watchdog = Watchdog(config.node.hang_s, self._on_hang)
        self.durations = {name: Durations() for name in ("wait", "decode", "compute")}
        self.reporter = StatusReporter(transport, topics.node_status(self._name), self._status)
        self._is_ours, self._sharing = self._share(config)
        self._looks = LookTopics(topics.fleet)
        for entry in config.images:
            self._subscribe(entry)
        self._subscribe(look_images(self._looks, config.images), required=False)
        if any(entry.mode == "cascade" for entry in config.images):
            transport.subscribe(topics.all_enough, self._on_enough, required=False)

    def run(self) -> None:
        """Serve until :meth:`stop`.

        Raises:
            BrokerError: the broker refused us for good.
        """
        of, text = self._served.identity, "node %s runs part %d of %d on %s, bundle %s"
        logger.info(text, of.node, of.part, of.parts, of.engine, of.fingerprint)
        online = self.reporter.connected(self._refusal, on_connected=self._on_connected)
        with self._watchdog.watching(), online:
            while not self._frames.closed:
                self._watchdog.beat()
                held_s = self._holding.wait_s(time.monotonic(), INTERVAL_S)
                self._serving = self._frames.get(held_s)
                if self._serving is not None:
                    self._serve(self._serving)
                self._take_turns()
                if self._redelivery_due and self._frames.empty:
                    self._redelivery_due = False
                    self._redelivering = True
                    self._transport.redeliver()
                if self._sharing is not None:
                    self._sharing.work(len(self._pending_acks))
                self.reporter.refresh()
        self._refusal.check()

    def serve(self, served: Served) -> None:
        """Go over to another part or bundle with the next image; on any thread.

        The image in progress is finished with what it was begun with.
        """
        self._served = served
        if self._sharing is not None:
            self._sharing.serve(served.identity)

    def stop(self) -> None:
        """Make :meth:`run` return after the inference in progress."""
        self._frames.close()

    @property
    def _name(self) -> str:
        return self._served.identity.node

    def _share(self, config: Config) -> tuple[Callable[[bytes], bool], Sharing | None]:
        """What says which requests are ours, and what follows the living nodes if they share."""
        if config.node.replica != AUTO:
            return fixed_share(config.node.replica), None
        sharing = Sharing(
            self._served.identity,
            self._transport,
            topics=self._topics,
            every=any(entry.delivery == "every" for entry in config.images),
            mailbox=self._frames,
            counters=self._counters,
            on_done=self._pending_acks.acknowledge,
        )
        return sharing.is_ours, sharing

    def _on_connected(self) -> None:
        """A connection that was ended to get what was left with the broker changes nothing else."""
        if self._sharing is not None and not self._redelivering:
            self._sharing.connected()
        self._redelivering = False

    def _subscribe(self, entry: ImagesConfig, *, required: bool = True) -> None:
        pattern = ImageFilter(entry.topic)
        every = entry.delivery == "every"
        limit = RateLimit(entry.max_rate) if entry.max_rate else None

        def on_image(message: Message) -> None:
            if message.is_deletion:
                note_deletion(message, self._counters)
                self._transport.acknowledge(message)
                return
            if message.retained and not entry.retained:
                self._counters.count("retained")
                self._transport.acknowledge(message)
                return
            self._counters.count("received")
            if every and message.delivery is None:
                warn_of_qos_0(message, self._counters)
            try:
                self._accept(pattern, limit, message, entry)
            except InputError as error:
                self._counters.refuse(error, f"image on {message.topic[:100]!r}")
                self._transport.acknowledge(message)

        qos = int(every)
        self._transport.subscribe(
            pattern.mqtt, on_image, qos=qos, manual_ack=every, required=required
        )

    def _accept(
        self, pattern: ImageFilter, limit: RateLimit | None, message: Message, entry: ImagesConfig
    ) -> None:
        if len(message.payload) > self._config.max_payload_bytes:
            raise ImageError(
                "too_large",
                f"payload of {len(message.payload)} bytes is over the limit of "
                f"{self._config.max_payload_bytes}",
            )
        route = pattern.match(message.topic)
        if route is None:
            raise MessageError("topic", f"topic does not match {pattern.pattern}")
        crop = self._looks.crop_of(message.topic)
        request_id = route.request_id or request.request_id(message.topic, message.payload)
        is_every = message.delivery is not None
        is_ours = self._is_ours(request_id)
        if not is_ours and (self._sharing is None or not is_every):
            self._transport.acknowledge(message)
            return
        now = time.monotonic()
        if is_ours and limit is not None and not limit.allows(route.camera, now):
            self._drops.count(route.camera, "rate")
            self._transport.acknowledge(message)
            return
        now_ms = time.time_ns() // 1_000_000
        identity, order = self._served.identity, self._served.order
        # Labels say nothing of crops, so only whole images wait for their turn.
        in_turn = crop is None and self._crops.only_whole(route.camera)
        if is_every and self._sharing is not None and crop is None and not in_turn:
            wanted = self._crops.wanted(route.camera, request_id)
            self._sharing.expect(request_id, [crop_id for crop_id, _ in wanted])
        frame = Frame(
            *(route.camera, request_id, message.payload, now, now_ms, is_every),
            take_incomplete=entry.incomplete == "take",
            crop=crop,
            change=entry.change,
            turn_s=turn_s(entry, identity.part, identity.parts, order) if in_turn else 0.0,
        )
        self._take(frame, message, is_ours=is_ours)

    def _take(self, frame: Frame, message: Message, *, is_ours: bool) -> None:
        """Take an image, unless it is under way, or needs nothing of this node, or not yet."""
        request_id, size = frame.request_id, len(frame.payload)
        if frame.is_every and not self._pending_acks.add(request_id, message):
            self._counters.count("redelivered")
        elif frame.is_every and self._sharing is not None and self._sharing.is_done(request_id):
            self._pending_acks.acknowledge(request_id)
        elif self._sharing is not None and not is_ours:
            if not self._sharing.hold(request_id, size, partial(self._line_up, frame)):
                self._defer(frame)
        elif frame.turn_s and self._holding.is_enough(request_id, frame.received):
            self._spare(frame)
        elif frame.turn_s and self._holding.hold(
            request_id, frame, size, frame.received + frame.turn_s
        ):
            self._frames.nudge()
        else:
            self._line_up(frame)

    def _take_turns(self) -> None:
        """Line up the images of a cascade whose turn it is here."""
        for frame in self._holding.due(time.monotonic()):
            try:
                self._line_up(frame)
            except InputError as error:
                self._counters.refuse(error, f"image of camera {frame.camera!r}")

    def _line_up(self, frame: Frame) -> None:
        """Let a frame wait for the engine; one of ``every`` goes back to the broker if it cannot.

        Raises:
            ImageError: too many cameras are waiting.
        """
        if frame.is_every:
            if not self._frames.enqueue(("every", frame.camera), frame, len(frame.payload)):
                self._defer(frame)
        elif not self._frames.put((frame.camera, frame.crop), frame, self._rank(frame.request_id)):
            raise ImageError(
                "too_many_cameras", f"more than {self._config.max_cameras} cameras are waiting"
            )

    def _defer(self, frame: Frame) -> None:
        """Leave an image with the broker, for want of memory."""
        self._pending_acks.pop(frame.request_id)
        self._counters.count("deferred")
        self._redelivery_due = True

    def _on_enough(self, message: Message) -> None:
        """An aggregator says that an image has its label."""
        try:
            request_id = decode_enough(message.payload, retained=message.retained)
        except InputError as error:
            self._counters.refuse(error, f"message on {message.topic[:100]!r}")
            return
        frame = self._holding.enough(request_id, time.monotonic())
        if frame is not None:
            self._spare(frame)
        if self._sharing is not None:
            self._sharing.enough(request_id)

    def _spare(self, frame: Frame) -> None:
        """Not compute an image that has its label; the broker may forget it."""
        self._counters.count("spared")
        self._pending_acks.acknowledge(frame.request_id)

    def _rank(self, request_id: bytes) -> int:
        """A fleet of one part has nobody to agree with: the newest image is the best."""
        return request.preference(request_id) if self._served.identity.parts > 1 else 0

    def _serve(self, frame: Frame) -> None:
        now = time.monotonic()
        if frame.is_every and frame.request_id not in self._pending_acks:
            return  # another node was faster
        if frame.turn_s and self._holding.is_enough(frame.request_id, now):
            self._spare(frame)
            return
        age = now - frame.received - frame.turn_s
        if not frame.is_every and age > self._config.max_age_s:
            self._drops.count(frame.camera, "age")
            return
        wanted = self._crops.of(frame)
        acknowledge = partial(self._pending_acks.acknowledge, frame.request_id)
        reports = after_all([request_id for request_id, _ in wanted], acknowledge)
        for (request_id, crop), done in zip(wanted, reports, strict=True):
            try:
                computed = compute(
                    *(self._served, frame, request_id, crop),
                    repeats=self._repeats,
                    max_pixels=self._config.max_pixels,
                )
                self._publish(frame, computed, done)
            except InputError as error:  # costs this request only
                self._give_up(frame, done, error)
            except Exception:
                logger.exception("request %s lost", request_id.hex())
                self._counters.count("lost")
                done()

    def _publish(self, frame: Frame, computed: Computed, done: Callable[[], None]) -> None:
        feature, payload = computed.feature, computed.payload
        for stage, taken_ms in computed.times_ms.items():
            self.durations[stage].add(taken_ms)
        topic = self._topics.feature(feature.request_id[0] % self._shards, self._name)
        if frame.is_every:
            give_up = partial(self._give_up, frame, done)
            self._transport.publish(topic, payload, qos=1, on_puback=done, on_given_up=give_up)
        else:
            self._transport.publish(topic, payload)
        for name in computed.counts:
            self._counters.count(name)

    def _give_up(self, frame: Frame, done: Callable[[], None], error: InputError) -> None:
        self._counters.refuse(error, f"image of camera {frame.camera!r}")
        done()

    def _on_hang(self) -> None:
        """Say so, give up the image that caused it, and end: nothing else stops an inference."""
        frame = self._serving
        if frame is None:
            logger.critical("the node hangs; ending it")
        else:
            logger.critical(
                "an image of camera %r takes more than %g s; ending the node",
                frame.camera,
                self._config.hang_s,
            )
            self._counters.count("lost")
            self._pending_acks.acknowledge(frame.request_id)  # else it hangs the next process too
        self.reporter.goodbye()
        self._transport.stop()
        self._exit_process()

    def _status(self, state: State, age_s: float) -> NodeStatus:
        busy = (self.durations[stage].total_s for stage in ("decode", "compute"))
        return msgspec.structs.replace(
            self._served.identity,
            state=state,
            uptime_s=age_s,
            received=self._counters["received"],
            published=self._counters["published"],
            crops=self._counters["crops"],
            dropped=self._drops.total,
            lost=self._counters["lost"],
            unsent=self._transport.unsent,
            refused=self._counters.refused,
            decode_ms=self.durations["decode"].median_ms,
            compute_ms=self.durations["compute"].median_ms,
            drops=self._drops.by_camera,
            unfinished=len(self._pending_acks),
            redelivered=self._counters["redelivered"],
            deferred=self._counters["deferred"],
            spared=self._counters["spared"],
            repeated=self._counters["repeated"],
            **self._instruments.read(sum(busy)),
            problem=self.reporter.problem,
            shares=self._sharing is not None and self._sharing.shares,
            replicas=1 if self._sharing is None else self._sharing.replicas,
        )
