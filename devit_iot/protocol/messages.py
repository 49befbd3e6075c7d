"""The wire formats: encode and decode, nothing else. Normative: docs/protocol.md.

Whatever does not parse raises MessageError with a stable reason; no allocation is larger than the
payload that caused it.
"""

import hashlib
import struct
from typing import Annotated, Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from devit_iot.errors import MessageError
from devit_iot.protocol.text import MAX_TEXT, is_camera, is_plain

REQUEST_ID_BYTES = 16
MAX_JSON_BYTES = 64 * 2**10
"""Of a label or status."""

MAX_HEADER_BYTES = 4096
"""Of a feature, with its extensions."""

STAGES = ("wait", "decode", "compute", "collect", "fuse")
"""Keys of a label's ``latency_ms``, in their order."""

# magic, header bytes, dtype, flags, request id, fingerprint, part, parts, count,
# received ms, wait us, decode us, compute us
_HEADER = struct.Struct("<4sHBB16s8sHHIQIII")
_MAGIC = b"DVF1"
_DTYPE_FLOAT16 = 1
_TAG_PADDING = 0
_TAG_CAMERA = 1
_MAX_U32 = 2**32 - 1


_Parts = Annotated[int, msgspec.Meta(ge=0, le=2**16 - 1)]  # as in a feature


class Timing(msgspec.Struct, frozen=True):
    """Where a node's time went, in microseconds.

    Attributes:
        wait_us: from receiving the image to decoding it.
        decode_us: of decoding and resizing.
        compute_us: of the engine.
    """

    wait_us: int = 0
    decode_us: int = 0
    compute_us: int = 0

    @property
    def total_us(self) -> int:
        """From receiving the image to having its feature."""
        return self.wait_us + self.decode_us + self.compute_us


def feature_bytes(count: int) -> int:
    """Size of a feature message of ``count`` numbers, without extensions."""
    return _HEADER.size + 2 * count


def longest_feature(count: int) -> int:
    """Size of the longest feature message of ``count`` numbers."""
    return MAX_HEADER_BYTES + 2 * count


class Feature(msgspec.Struct, frozen=True):
    """One part's answer to one image.

    Attributes:
        request_id: 16 bytes, the same at every node that saw the image.
        fingerprint: 8 bytes, the bundle's.
        part: index of the part that computed it.
        parts: how many parts the bundle has.
        camera: name derived from the image's topic.
        received_ms: when the node received the image, Unix milliseconds of its own clock.
        timing: where its time went.
        values: float32[feature_dim]; float16 on the wire.
    """

    request_id: bytes
    fingerprint: bytes
    part: int
    parts: int
    camera: str
    received_ms: int
    timing: Timing
    values: NDArray[np.float32]

    def encode(self) -> bytes:
        """The binary form: 60 bytes, the camera, then the values as float16.

        Raises:
            MessageError: a value is not finite as float16.
        """
        with np.errstate(over="ignore"):
            values = self.values.astype("<f2")
        if not np.isfinite(values).all():
            raise MessageError("not_finite", "the feature holds NaN, infinity or a value > 65504")
        camera = self.camera.encode()
        extension = bytes((_TAG_CAMERA, len(camera))) + camera
        extension += bytes(-len(extension) % 4)  # single zero bytes are padding
        timing = self.timing
        header = _HEADER.pack(
            _MAGIC,
            _HEADER.size + len(extension),
            _DTYPE_FLOAT16,
            0,
            self.request_id,
            self.fingerprint,
            self.part,
            self.parts,
            values.size,
            self.received_ms,
            *(min(us, _MAX_U32) for us in (timing.wait_us, timing.decode_us, timing.compute_us)),
        )
        return header + extension + values.tobytes()

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read the binary form.

        Raises:
            MessageError: wrong magic, flags, dtype or length, or a value that is not finite.
        """
        if len(payload) < _HEADER.size or payload[:4] != _MAGIC:
            raise MessageError("magic", f"{len(payload)} bytes that are no DVF1 feature")
        _, header, dtype, flags, request_id, fingerprint, part, parts, count, received, *us = (
            _HEADER.unpack_from(payload)
        )
        if dtype != _DTYPE_FLOAT16 or flags:
            raise MessageError("version", f"feature of unknown dtype {dtype} or flags {flags:#x}")
        in_bounds = _HEADER.size <= header <= min(len(payload), MAX_HEADER_BYTES)
        if not in_bounds or len(payload) != header + 2 * count:
            raise MessageError(
                "length", f"feature of {len(payload)} bytes, its header says {header} + 2 x {count}"
            )
        if part >= parts:
            raise MessageError("part", f"feature of part {part} of {parts}")
        camera = _camera(payload[_HEADER.size : header])
        values = np.frombuffer(payload, "<f2", count, header).astype(np.float32)
        if not np.isfinite(values).all():
            raise MessageError("not_finite", "the feature holds NaN or infinity")
        return cls(request_id, fingerprint, part, parts, camera, received, Timing(*us), values)


def _camera(extensions: bytes) -> str:
    """The camera's name from the tag-length-value extensions; unknown tags are skipped."""
    position = 0
    while position < len(extensions):
        tag = extensions[position]
        if tag == _TAG_PADDING:
            position += 1
            continue
        length = extensions[position + 1] if position + 1 < len(extensions) else len(extensions)
        value = extensions[position + 2 : position + 2 + length]
        if len(value) != length:
            raise MessageError("extension", "a feature's extension runs past its header")
        if tag == _TAG_CAMERA:
            return _camera_name(value)
        position += 2 + length
    raise MessageError("extension", "the feature names no camera")


def _camera_name(value: bytes) -> str:
    try:
        camera = value.decode()
    except UnicodeDecodeError as error:
        raise MessageError("camera", "a feature's camera name is not UTF-8") from error
    if not is_camera(camera) or set(camera) & set("/+#"):
        raise MessageError("camera", f"a feature's camera name is unusable: {camera!r}")
    return camera


class _JsonMessage(msgspec.Struct, frozen=True):
    """A message that people and other programs read too. Unknown fields are skipped."""

    def encode(self) -> bytes:
        """The JSON form."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read the JSON form.

        Raises:
            MessageError: it is too long, does not parse, a field is missing or of another type, a
                text is long or not printable, or an integer is huge: they are logged and shown.
        """
        if len(payload) > MAX_JSON_BYTES:
            raise MessageError("too_large", f"{cls.__name__} of {len(payload)} bytes")
        try:
            message = msgspec.json.decode(payload, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MessageError("json", f"{cls.__name__} does not parse: {error}") from error
        fields = msgspec.to_builtins(message)
        if not _is_plain(fields):
            raise MessageError(
                "text",
                f"a text of {cls.__name__} has over {MAX_TEXT} characters, or unprintable ones",
            )
        if not _is_small(fields):
            raise MessageError("json", f"an integer of {cls.__name__} does not fit in 64 bits")
        return message


def _is_plain(value: object) -> bool:
    """Whether every text in a message is plain, keys too."""
    if isinstance(value, str):
        return is_plain(value)
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return True


def _is_small(value: object) -> bool:
    """Whether every integer in a message fits in 64 bits."""
    if isinstance(value, int):
        return abs(value) < 2**63
    if isinstance(value, dict):
        return all(map(_is_small, value.values()))
    return not isinstance(value, (list, tuple)) or all(map(_is_small, value))


class Ranked(msgspec.Struct, frozen=True):
    """One class and its probability.

    Attributes:
        label: the class's name.
        class_index: its index in the bundle's ``classes``.
        confidence: its probability, by softmax over all classes.
    """

    label: str
    class_index: int
    confidence: float


class Label(_JsonMessage, frozen=True):
    """The fleet's answer to one image, as JSON.

    Attributes:
        request_id: 32 hex digits.
        camera: name derived from the image's topic.
        label: name of the most probable class.
        class_index: its index in the bundle's ``classes``.
        confidence: its probability, by softmax over all classes.
        top5: most probable classes, the first is the answer.
        parts_used: indices of the parts that it rests on.
        parts: how many parts the bundle has.
        degraded: whether a part is missing.
        latency_ms: by :data:`STAGES`; of the critical part ``wait``, ``decode``, ``compute``; then
            ``collect``, from the first feature to the last one awaited, and ``fuse``.
    """

    request_id: str
    camera: str
    label: str
    class_index: int
    confidence: float
    top5: tuple[Ranked, ...]
    parts_used: tuple[_Parts, ...]
    parts: _Parts
    degraded: bool
    latency_ms: dict[str, float]


State = Literal["online", "offline"]


class _Status(_JsonMessage, frozen=True):
    """What both statuses share.

    Attributes:
        state: ``offline`` before a clean disconnect and as the last will.
        fingerprint: of the bundle, hex.
        parts: how many parts the bundle has.
        version: of devit-iot.
        uptime_s: since the service started.
        unsent: messages dropped because the broker was away too long.
        refused: inputs refused, by reason.
        problem: what is wrong now, in words; empty if nothing is.
    """

    state: State
    fingerprint: str
    parts: _Parts
    version: str = ""
    uptime_s: float = 0.0
    unsent: int = 0
    refused: dict[str, int] = {}
    problem: str = ""

    def gone(self) -> Self:
        """The last will."""
        return msgspec.structs.replace(self, state="offline")


class NodeStatus(_Status, frozen=True, kw_only=True):
    """What a node is and how it fares, as retained JSON; the last will says ``offline``.

    Attributes:
        node: its name.
        part: index of the part that it runs.
        replica: ``i/n``: it serves every n-th request.
        engine: name, instruction set and threads.
        machine: the CPU's architecture.
        received: images; retained ones that are ignored do not count.
        published: features.
        dropped: frames that were not computed: ``drops`` in all.
        lost: frames that met a bug of ours; the log has the traceback.
        decode_ms: median time of decoding and resizing over the last hundred frames.
        compute_ms: likewise of the engine.
        drops: by camera and reason (``overload``, ``age``, ``rate``).
        unfinished: images of ``every`` whose feature the broker does not have yet.
        redelivered: images of ``every`` that came again while they were unfinished.
        deferred: images of ``every`` left with the broker for want of memory; they come again.
        temperature_c: of the board's chip, degrees Celsius; None where it has no sensor.
        throttled: whether heat or a weak power supply slows the board down; None: it cannot say.
    """

    node: str
    part: _Parts
    replica: str = "0/1"
    engine: str = ""
    machine: str = ""
    received: int = 0
    published: int = 0
    dropped: int = 0
    lost: int = 0
    decode_ms: float = 0.0
    compute_ms: float = 0.0
    drops: dict[str, dict[str, int]] = {}
    unfinished: int = 0
    redelivered: int = 0
    deferred: int = 0
    temperature_c: float | None = None
    throttled: bool | None = None


class AggregatorStatus(_Status, frozen=True, kw_only=True):
    """What an aggregator is and how it fares, as retained JSON.

    Attributes:
        shard: ``i/n``.
        features: valid ones received.
        labels: published.
        late: features of requests already answered.
        duplicate: second features of one part for a request.
        dropped: messages dropped because too many were waiting.
        degraded: labels that lacked a part.
        parts_online: indices of the parts with a live node.
        deadline_s: how long a request of ``latest`` waits for its parts at present.
        unanswered: requests that had too few parts for a label at their deadline.
        unfinished: requests of ``every`` whose label the broker does not have yet.
    """

    shard: str
    features: int = 0
    labels: int = 0
    degraded: int = 0
    late: int = 0
    duplicate: int = 0
    dropped: int = 0
    parts_online: tuple[_Parts, ...] = ()
    deadline_s: float = 0.0
    unanswered: int = 0
    unfinished: int = 0


def request_id(topic: str, payload: bytes) -> bytes:
    """The 16-byte id of an image whose topic names none: blake2b of topic, a zero byte, payload.

    Every node receives the same message and so computes the same id, without any coordination.
    """
    digest = hashlib.blake2b(topic.encode(), digest_size=REQUEST_ID_BYTES)
    digest.update(b"\0")
    digest.update(payload)
    return digest.digest()


def preference(request_id: bytes) -> int:
    """Which image a node computes if it cannot compute all: the one with the largest value.

    Nodes that are behind see the same images and so prefer the same ones, without coordination:
    else each would compute others, and no label would rest on all parts.
    """
    return int.from_bytes(hashlib.blake2b(request_id, digest_size=8).digest(), "little")
