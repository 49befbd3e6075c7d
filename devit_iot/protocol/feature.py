"""The binary message of a node: one feature. Normative: docs/protocol.md.

Whatever does not parse raises MessageError with a stable reason; no allocation is larger than the
payload that caused it.
"""

import struct
from functools import lru_cache
from typing import NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from devit_iot.errors import MessageError
from devit_iot.protocol.crop import CROP_BYTES, Crop
from devit_iot.protocol.text import is_camera_level

MAX_HEADER_BYTES = 4096
"""Of a feature, with its extensions."""


# magic, header bytes, dtype, flags, request id, fingerprint, part, parts, count,
# received ms, wait us, decode us, compute us
_HEADER = struct.Struct("<4sHBB16s8sHHIQIII")


_MAGIC = b"DVF1"


_DTYPE_FLOAT16 = 1


_ROUNDS_TO_INFINITY = 65520.0
"""From here on a number becomes infinite as float16; below it at most 65504."""


_TAG_PADDING = 0


_TAG_CAMERA = 1


_TAG_PARTS_FINGERPRINT = 2


_TAG_CROP = 3


_FINGERPRINT_BYTES = 8


_MAX_U32 = 2**32 - 1


_HEADERS_REMEMBERED = 1024  # a node says the same of a camera with each of its images


class FeatureIdentity(NamedTuple):
    """What a feature is of.

    Attributes:
        request_id: 16 bytes.
        fingerprint: fingerprint of the bundle, 8 bytes.
        part: index of the part.
    """

    request_id: bytes
    fingerprint: bytes
    part: int


def read_identity(payload: bytes) -> FeatureIdentity:
    """What a feature is of, without a look at its values.

    Raises:
        MessageError: it is none.
    """
    if len(payload) < _HEADER.size:
        raise MessageError("length", f"a feature of {len(payload)} bytes is too short")
    fields = _HEADER.unpack_from(payload)
    if fields[0] != _MAGIC:
        raise MessageError("magic", "not a feature")
    return FeatureIdentity(fields[4], fields[5], fields[6])


class Timing(msgspec.Struct, frozen=True):
    """Where a node's time went, in microseconds.

    Attributes:
        wait_us: time from receiving the image to decoding it.
        decode_us: time of decoding and resizing.
        compute_us: time of the engine.
    """

    wait_us: int = 0
    decode_us: int = 0
    compute_us: int = 0

    @property
    def total_us(self) -> int:
        """The time from receiving the image to having its feature."""
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
        fingerprint: 8 bytes, of the whole bundle.
        part: index of the part that computed it.
        parts: how many parts the bundle has.
        camera: name derived from the image's topic.
        received_ms: when the node received the image, Unix milliseconds of its own clock.
        timing: where its time went.
        values: float32[feature_dim]; float16 on the wire.
        parts_fingerprint: 8 bytes, of the bundle's parts; empty from a node that does not say it.
        crop: rectangle of the image that it is about; None for the whole image.
    """

    request_id: bytes
    fingerprint: bytes
    part: int
    parts: int
    camera: str
    received_ms: int
    timing: Timing
    values: NDArray[np.float32]
    parts_fingerprint: bytes = b""
    crop: Crop | None = None

    def encode(self) -> bytes:
        """The binary form: 60 bytes, the camera, then the values as float16.

        Raises:
            MessageError: a value is not finite as float16.
        """
        if not np.abs(self.values).max(initial=0.0) < _ROUNDS_TO_INFINITY:  # never true of NaN
            raise MessageError("not_finite", "the feature holds NaN, infinity or a value > 65504")
        values = self.values.astype("<f2")
        camera = self.camera.encode()
        extension = bytes((_TAG_CAMERA, len(camera))) + camera
        if self.parts_fingerprint:
            extension += bytes((_TAG_PARTS_FINGERPRINT, _FINGERPRINT_BYTES))
            extension += self.parts_fingerprint
        if self.crop is not None:
            extension += bytes((_TAG_CROP, CROP_BYTES)) + self.crop.encode()
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
        said = _extensions(payload[_HEADER.size : header])
        values = np.frombuffer(payload, "<f2", count, header).astype(np.float32)
        if not np.isfinite(values).all():
            raise MessageError("not_finite", "the feature holds NaN or infinity")
        return cls(
            request_id,
            fingerprint,
            part,
            parts,
            said.camera,
            received,
            Timing(*us),
            values,
            said.parts_fingerprint,
            said.crop,
        )


class _Extensions(NamedTuple):
    """What the extensions of a feature say.

    Attributes:
        camera: its name.
        parts_fingerprint: 8 bytes, or none.
        crop: rectangle of the image, or None.
    """

    camera: str
    parts_fingerprint: bytes
    crop: Crop | None


@lru_cache(_HEADERS_REMEMBERED)
def _extensions(extensions: bytes) -> _Extensions:
    """Read the tag-length-value extensions; unknown tags, and a tag's repetitions, are skipped."""
    found: dict[int, bytes] = {}
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
        found.setdefault(tag, value)
        position += 2 + length
    if _TAG_CAMERA not in found:
        raise MessageError("extension", "the feature names no camera")
    parts_fingerprint = found.get(_TAG_PARTS_FINGERPRINT, b"")
    if len(parts_fingerprint) not in {0, _FINGERPRINT_BYTES}:
        raise MessageError(
            "extension", f"a fingerprint of the parts has {len(parts_fingerprint)} bytes, not 8"
        )
    crop = _crop(found[_TAG_CROP]) if _TAG_CROP in found else None
    return _Extensions(_camera_name(found[_TAG_CAMERA]), parts_fingerprint, crop)


def _crop(value: bytes) -> Crop:
    if len(value) != CROP_BYTES:
        raise MessageError(
            "extension", f"a feature's crop has {len(value)} bytes, not {CROP_BYTES}"
        )
    try:
        return Crop.decode(value)
    except ValueError as error:
        raise MessageError("crop", f"a feature's crop cannot be: {error}") from error


def _camera_name(value: bytes) -> str:
    try:
        camera = value.decode()
    except UnicodeDecodeError as error:
        raise MessageError("camera", "a feature's camera name is not UTF-8") from error
    if not is_camera_level(camera):
        raise MessageError("camera", f"a feature's camera name is unusable: {camera!r}")
    return camera
