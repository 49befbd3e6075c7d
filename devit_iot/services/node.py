"""One edge node: images in, features of one part out."""

import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from devit_iot import messages
from devit_iot.config import ImagesConfig, NodeConfig, fraction
from devit_iot.engine.base import Engine
from devit_iot.engine.image import load_image
from devit_iot.errors import BrokerError, ImageError, InputError, MessageError
from devit_iot.messages import Feature, NodeStatus, Timing
from devit_iot.services.mailbox import Mailbox
from devit_iot.services.status import INTERVAL_S, StatusReporter
from devit_iot.services.tally import Recent, Tally
from devit_iot.spec import SubVitSpec
from devit_iot.topics import ImageFilter, Topics
from devit_iot.transport.base import Message, Transport

logger = logging.getLogger(__name__)


class Frame(NamedTuple):
    """An image that waits for its turn; ``received`` is monotonic seconds."""

    camera: str
    request_id: bytes
    payload: bytes
    received: float
    received_ms: int


class Node:
    """Runs one part on the newest frame of each camera and publishes its features.

    The network thread only identifies a frame and hands it over; decoding and inference run in
    :meth:`run`.

    Args:
        identity: the node's status without counters: name, part, bundle, engine.
        spec: the part's shape.
        engine: proven on the golden image.
        transport: not started yet; its will says that this node is offline.
    """

    def __init__(
        self,
        identity: NodeStatus,
        spec: SubVitSpec,
        engine: Engine,
        transport: Transport,
        *,
        topics: Topics,
        images: Sequence[ImagesConfig],
        config: NodeConfig,
        shards: int,
    ) -> None:
        self._identity = identity
        self._fingerprint = bytes.fromhex(identity.fingerprint)
        self._spec = spec
        self._engine = engine
        self._transport = transport
        self._topics = topics
        self._config = config
        self._shards = shards
        self._replica, self._replicas = fraction(config.replica, "node.replica")
        self._frames: Mailbox[Frame] = Mailbox(config.max_cameras)
        self._tally = Tally(logger)
        self._decode_ms = Recent()
        self._compute_ms = Recent()
        self._failure: BrokerError | None = None
        self._reporter = StatusReporter(transport, topics.node_status(identity.node), self._status)
        for entry in images:
            self._subscribe(ImageFilter(entry.topic), retained_too=entry.retained)

    def run(self) -> None:
        """Serve until :meth:`stop`.

        Raises:
            BrokerError: the broker refused us for good.
        """
        identity = self._identity
        logger.info(
            "node %s runs part %d of %d on %s, bundle %s",
            identity.node,
            identity.part,
            identity.parts,
            identity.engine,
            identity.fingerprint,
        )
        with self._reporter.connected(self._on_refused):
            while not self._frames.closed:
                frame = self._frames.get(INTERVAL_S)
                if frame is not None:
                    self._serve(frame)
                self._reporter.refresh()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Make :meth:`run` return after the inference in progress."""
        self._frames.close()

    def _subscribe(self, pattern: ImageFilter, *, retained_too: bool) -> None:
        def on_image(message: Message) -> None:
            if message.retained and not retained_too:
                self._tally.count("retained")
                return
            self._tally.count("received")
            try:
                self._accept(pattern, message)
            except InputError as error:
                self._tally.refuse(error, f"image on {message.topic[:100]!r}")

        self._transport.subscribe(pattern.mqtt, on_image)

    def _accept(self, pattern: ImageFilter, message: Message) -> None:
        if len(message.payload) > self._config.max_payload_bytes:
            raise ImageError(
                "too_large",
                f"payload of {len(message.payload)} bytes is over the limit of "
                f"{self._config.max_payload_bytes}",
            )
        if not message.payload:
            raise ImageError("empty", "empty image payload")
        route = pattern.match(message.topic)
        if route is None:
            raise MessageError("topic", f"topic does not match {pattern.pattern}")
        request_id = route.request_id or messages.request_id(message.topic, message.payload)
        if int.from_bytes(request_id, "little") % self._replicas != self._replica:
            return
        now_ms = time.time_ns() // 1_000_000
        frame = Frame(route.camera, request_id, message.payload, time.monotonic(), now_ms)
        if not self._frames.put(route.camera, frame):
            raise ImageError(
                "too_many_cameras", f"more than {self._config.max_cameras} cameras are waiting"
            )

    def _serve(self, frame: Frame) -> None:
        try:
            feature = self._compute(frame)
            payload = feature.encode()
        except InputError as error:  # costs this request only
            self._tally.refuse(error, f"image of camera {frame.camera!r}")
            return
        except Exception:
            logger.exception("request %s lost", frame.request_id.hex())
            self._tally.count("lost")
            return
        topic = self._topics.feature(frame.request_id[0] % self._shards, self._identity.node)
        self._transport.publish(topic, payload)
        self._tally.count("published")

    def _compute(self, frame: Frame) -> Feature:
        begin = time.monotonic()
        file = messages.unwrap_image(frame.payload)
        image = load_image(file, self._spec, max_pixels=self._config.max_pixels)
        decoded = time.monotonic()
        values = self._engine.features(image)
        end = time.monotonic()
        self._decode_ms.add(1e3 * (decoded - begin))
        self._compute_ms.add(1e3 * (end - decoded))
        return Feature(
            request_id=frame.request_id,
            fingerprint=self._fingerprint,
            part=self._identity.part,
            parts=self._identity.parts,
            camera=frame.camera,
            received_ms=frame.received_ms,
            timing=Timing(_us(begin - frame.received), _us(decoded - begin), _us(end - decoded)),
            values=values,
        )

    def _on_refused(self, error: BrokerError) -> None:
        self._failure = error
        self._frames.close()

    def _status(self, state: messages.State, age_s: float) -> NodeStatus:
        return msgspec.structs.replace(
            self._identity,
            state=state,
            uptime_s=age_s,
            received=self._tally["received"],
            published=self._tally["published"],
            dropped=self._frames.dropped,
            lost=self._tally["lost"],
            unsent=self._transport.unsent,
            refused=self._tally.refused,
            decode_ms=self._decode_ms.median,
            compute_ms=self._compute_ms.median,
        )


def _us(seconds: float) -> int:
    return max(0, round(1e6 * seconds))
