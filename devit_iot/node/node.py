"""One edge node: images in, features of one part out."""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec

from devit_iot.bundle.spec import SubVitSpec
from devit_iot.config.config import Config, ImagesConfig
from devit_iot.config.node import AUTO
from devit_iot.engine.base import Engine
from devit_iot.engine.image import load_image
from devit_iot.errors import ImageError, InputError, MessageError
from devit_iot.node.mailbox import Mailbox
from devit_iot.node.rate import RateLimit
from devit_iot.node.sensors import Sensors
from devit_iot.node.sharing import Sharing, fixed_share
from devit_iot.node.watchdog import Watchdog
from devit_iot.protocol import request
from devit_iot.protocol.feature import Feature, Timing
from devit_iot.protocol.image_message import unwrap_image
from devit_iot.protocol.status import NodeStatus, State
from devit_iot.protocol.topics import ImageFilter, Topics
from devit_iot.service.counters import Counters, Drops
from devit_iot.service.durations import Durations
from devit_iot.service.pending_acks import PendingAcks
from devit_iot.service.status import INTERVAL_S, StatusReporter
from devit_iot.transport.base import Message, Transport
from devit_iot.transport.refusals import Refusal

logger = logging.getLogger(__name__)

RECEIVE_MAXIMUM = 32
"""Images of ``every`` that the broker sends ahead of their acknowledgement, if it speaks MQTT 5."""


class Frame(NamedTuple):
    """An image that waits for its turn.

    Attributes:
        received: when the image came, monotonic seconds.
        received_ms: when the image came, Unix milliseconds.
        is_every: whether it is of ``every``: its request waits for its acknowledgement.
        take_incomplete: whether it counts if its data end early.
    """

    camera: str
    request_id: bytes
    payload: bytes
    received: float
    received_ms: int
    is_every: bool
    take_incomplete: bool


class Served(NamedTuple):
    """What a node serves: the status that says so, without counters, and what computes it."""

    identity: NodeStatus
    spec: SubVitSpec
    engine: Engine


class Node:
    """Runs one part on camera images and publishes its features.

    It computes one of the newest images of a ``latest`` camera. It computes each image of an
    ``every`` camera, and lets the broker forget the image when the broker has the feature. The
    network thread only identifies a frame and hands it over; decoding and inference run in
    :meth:`run`.

    Args:
        served: its part, whose engine was proven on the golden image.
        transport: a connection that is not started; its will says that this node is offline.
        sensors: the board's sensors.
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
        sensors: Sensors,
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
        self._redelivery_due = False  # an image was left with the broker
        self._redelivering = False  # and is asked for on a new connection
        self._counters = Counters(logger)
        self._drops = Drops()
        self._refusal = Refusal(self.stop)
        self._serving: Frame | None = None
        self._sensors = sensors
        self._exit_process = exit_process
        self._watchdog = Watchdog(config.node.hang_s, self._on_hang)
        self.durations = {name: Durations() for name in ("wait", "decode", "compute")}
        self.reporter = StatusReporter(transport, topics.node_status(self._name), self._status)
        self._is_ours, self._sharing = self._share(config)
        for entry in config.images:
            self._subscribe(entry)

    def run(self) -> None:
        """Serve until :meth:`stop`.

        Raises:
            BrokerError: the broker refused us for good.
        """
        of = self._served.identity
        text = "node %s runs part %d of %d on %s, bundle %s"
        logger.info(text, of.node, of.part, of.parts, of.engine, of.fingerprint)
        online = self.reporter.connected(self._refusal, on_connected=self._on_connected)
        with self._watchdog.watching(), online:
            while not self._frames.closed:
                self._watchdog.beat()
                self._serving = self._frames.get(INTERVAL_S)
                if self._serving is not None:
                    self._serve(self._serving)
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

    def _subscribe(self, entry: ImagesConfig) -> None:
        pattern = ImageFilter(entry.topic)
        every = entry.delivery == "every"
        limit = RateLimit(entry.max_rate) if entry.max_rate else None
        take_incomplete = entry.incomplete == "take"

        def on_image(message: Message) -> None:
            if message.is_deletion:
                self._note_deletion(message)
                return
            if message.retained and not entry.retained:
                self._counters.count("retained")
                self._transport.acknowledge(message)
                return
            self._counters.count("received")
            if every and message.delivery is None:
                self._warn(message)
            try:
                self._accept(pattern, limit, message, take_incomplete=take_incomplete)
            except InputError as error:
                self._counters.refuse(error, f"image on {message.topic[:100]!r}")
                self._transport.acknowledge(message)

        self._transport.subscribe(pattern.mqtt, on_image, qos=int(every), manual_ack=every)

    def _note_deletion(self, message: Message) -> None:
        """An empty message takes a retained image off the broker; nothing is wrong with it."""
        if not self._counters["deleted"]:
            logger.info("an empty message on %r: nothing to label", message.topic[:100])
        self._counters.count("deleted")
        self._transport.acknowledge(message)

    def _warn(self, message: Message) -> None:
        if not self._counters["qos_0"]:
            logger.warning(
                "image on %r came at QoS 0: the broker may lose it, so it counts as `latest`",
                message.topic[:100],
            )
        self._counters.count("qos_0")

    def _accept(
        self,
        pattern: ImageFilter,
        limit: RateLimit | None,
        message: Message,
        *,
        take_incomplete: bool,
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
        frame = Frame(
            route.camera, request_id, message.payload, now, now_ms, is_every, take_incomplete
        )
        if is_every:
            self._take(frame, message, is_ours=is_ours)
        elif not self._frames.put(route.camera, frame, self._rank(request_id)):
            raise ImageError(
                "too_many_cameras", f"more than {self._config.max_cameras} cameras are waiting"
            )

    def _rank(self, request_id: bytes) -> int:
        """A fleet of one part has nobody to agree with: the newest image is the best."""
        return request.preference(request_id) if self._served.identity.parts > 1 else 0

    def _take(self, frame: Frame, message: Message, *, is_ours: bool) -> None:
        """Take an image of ``every``, unless it is under way or computed by another node."""
        if not self._pending_acks.add(frame.request_id, message):
            self._counters.count("redelivered")
        elif self._sharing is not None and self._sharing.is_done(frame.request_id):
            self._pending_acks.acknowledge(frame.request_id)
        elif self._sharing is None or is_ours:
            self._enqueue(frame)
        elif not self._sharing.hold(
            frame.request_id, len(frame.payload), partial(self._enqueue, frame)
        ):
            self._defer(frame)

    def _enqueue(self, frame: Frame) -> None:
        if not self._frames.enqueue(("every", frame.camera), frame, len(frame.payload)):
            self._defer(frame)

    def _defer(self, frame: Frame) -> None:
        """Leave an image with the broker, for want of memory."""
        self._pending_acks.pop(frame.request_id)
        self._counters.count("deferred")
        self._redelivery_due = True

    def _serve(self, frame: Frame) -> None:
        if frame.is_every and frame.request_id not in self._pending_acks:
            return  # another node was faster
        age = time.monotonic() - frame.received
        if not frame.is_every and age > self._config.max_age_s:
            self._drops.count(frame.camera, "age")
            return
        try:
            self._publish(frame, self._compute(frame).encode())
        except InputError as error:  # costs this request only
            self._give_up(frame, error)
        except Exception:
            logger.exception("request %s lost", frame.request_id.hex())
            self._counters.count("lost")
            self._pending_acks.acknowledge(frame.request_id)

    def _publish(self, frame: Frame, payload: bytes) -> None:
        topic = self._topics.feature(frame.request_id[0] % self._shards, self._name)
        if frame.is_every:
            done = partial(self._pending_acks.acknowledge, frame.request_id)
            give_up = partial(self._give_up, frame)
            self._transport.publish(topic, payload, qos=1, on_puback=done, on_given_up=give_up)
        else:
            self._transport.publish(topic, payload)
        self._counters.count("published")

    def _give_up(self, frame: Frame, error: InputError) -> None:
        self._counters.refuse(error, f"image of camera {frame.camera!r}")
        self._pending_acks.acknowledge(frame.request_id)

    def _compute(self, frame: Frame) -> Feature:
        begin = time.monotonic()
        identity, spec, engine = self._served  # one bundle for the whole of it
        file = unwrap_image(frame.payload)
        image = load_image(
            file,
            spec,
            max_pixels=self._config.max_pixels,
            take_incomplete=frame.take_incomplete,
        )
        decoded = time.monotonic()
        values = engine.features(image)
        end = time.monotonic()
        timing = Timing(_us(begin - frame.received), _us(decoded - begin), _us(end - decoded))
        self.durations["wait"].add(timing.wait_us / 1e3)
        self.durations["decode"].add(timing.decode_us / 1e3)
        self.durations["compute"].add(timing.compute_us / 1e3)
        return Feature(
            request_id=frame.request_id,
            fingerprint=bytes.fromhex(identity.fingerprint),
            part=identity.part,
            parts=identity.parts,
            camera=frame.camera,
            received_ms=frame.received_ms,
            timing=timing,
            values=values,
            parts_fingerprint=bytes.fromhex(identity.parts_fingerprint),
        )

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
        reading = self._sensors.read()
        return msgspec.structs.replace(
            self._served.identity,
            state=state,
            uptime_s=age_s,
            received=self._counters["received"],
            published=self._counters["published"],
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
            temperature_c=reading.temperature_c,
            throttled=reading.throttled,
            problem=self.reporter.problem,
            shares=self._sharing is not None and self._sharing.shares,
            replicas=1 if self._sharing is None else self._sharing.replicas,
        )


def _us(seconds: float) -> int:
    return max(0, round(1e6 * seconds))
