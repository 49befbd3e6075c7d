"""The answer of a fleet to one image. Normative: docs/protocol.md."""

import msgspec

from devit_iot.protocol.json_message import JsonMessage, PartCount

LATENCIES = ("wait", "decode", "compute", "collect", "fuse")
"""Keys of a label's ``latency_ms``, in their order."""


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


class Label(JsonMessage, frozen=True):
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
        latency_ms: by :data:`LATENCIES`; of the critical part ``wait``, ``decode``, ``compute``;
            then ``collect``, from the first feature to the last one awaited, and ``fuse``.
        fingerprint: of the bundle that all features were made with, hex.
    """

    request_id: str
    camera: str
    label: str
    class_index: int
    confidence: float
    top5: tuple[Ranked, ...]
    parts_used: tuple[PartCount, ...]
    parts: PartCount
    degraded: bool
    latency_ms: dict[str, float]
    fingerprint: str = ""
