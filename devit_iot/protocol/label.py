"""The answer of a fleet to one image. Normative: docs/protocol.md."""

import msgspec

from devit_iot.protocol.json_message import JsonMessage, PartCount

LATENCIES = ("wait", "decode", "compute", "collect", "fuse")
"""Keys of a label's ``latency_ms``, in their order."""

DEFAULT_HEAD = "default"
"""Name of the head that every bundle has: its own fusion."""

UNKNOWN = "unknown"
"""The answer of a head that is less sure than it was told to be."""


class Ranked(msgspec.Struct, frozen=True):
    """One class and its probability.

    Attributes:
        label: the class's name.
        class_index: index of the class in the head's ``classes``.
        confidence: probability of the class, by softmax over all classes.
    """

    label: str
    class_index: int
    confidence: float


class Label(JsonMessage, frozen=True):
    """The fleet's answer to one image, as JSON.

    Attributes:
        request_id: 32 hex digits.
        camera: name derived from the image's topic.
        label: name of the most probable class, or :data:`UNKNOWN`.
        class_index: index of the class in the head's ``classes``; -1 for :data:`UNKNOWN`.
        confidence: probability of the most probable class, by softmax over all classes.
        top5: most probable classes, the first is the answer.
        parts_used: indices of the parts that it rests on.
        parts: how many parts the bundle has.
        degraded: whether a part is missing that was waited for.
        latency_ms: times by :data:`LATENCIES`: ``wait``, ``decode`` and ``compute`` of the critical
            part; ``collect``, from the first feature to the last one awaited; ``fuse``.
        head: name of the head that answers; ``default`` is the bundle's own fusion.
        head_version: fingerprint of that head, 16 hex digits; that of the bundle for ``default``.
        fingerprint: fingerprint of the bundle whose head it is, 16 hex digits.
        early: true for a label that did not wait for parts that were still to answer; left out
            otherwise.
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
    head: str = DEFAULT_HEAD
    head_version: str = ""
    fingerprint: str = ""
    early: bool | msgspec.UnsetType = msgspec.UNSET
