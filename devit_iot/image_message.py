"""Image messages: the file in them, whichever of its three forms a camera sends.

Normative: docs/protocol.md, section 4. What does not parse raises ImageError with a stable reason;
what is allocated is a few times as large as the payload at most.
"""

import base64
import binascii

import msgspec

from devit_iot.errors import ImageError

IMAGE_SUFFIXES = frozenset({".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".webp"})
"""Of the image files that a fleet takes."""

_BASE64_TEXT = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_\r\n\t "
)
_STANDARD_BASE64 = bytes.maketrans(b"-_", b"+/")
_WHITE = b" \t\r\n"


class _JsonImage(msgspec.Struct):
    """The fields that may hold an image, in the order of preference; the others make no objects."""

    image: msgspec.Raw = msgspec.Raw()
    imagebase64: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()


def unwrap_image(payload: bytes) -> bytes:
    """The image file in an image message: raw, as base64 text, or in a JSON object.

    Raises:
        ImageError: empty, or JSON or base64 that does not parse.
    """
    if not payload:
        raise ImageError("empty", "empty image payload")
    start = payload[:64].lstrip()
    if start[:1] == b"{":
        return _base64(_json_image(payload))
    if start[:5] == b"data:" or _BASE64_TEXT.issuperset(start):
        return _base64(payload)
    return payload


def _json_image(payload: bytes) -> bytes:
    try:
        fields = msgspec.json.decode(payload, type=_JsonImage)
        for value in (fields.image, fields.imagebase64, fields.data):
            if bytes(memoryview(value)[:1]) == b'"':
                return msgspec.json.decode(value, type=str).encode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ImageError("json", f"image JSON does not parse: {error}") from error
    keys = ", ".join(_JsonImage.__struct_fields__)
    raise ImageError("json", f"image JSON has none of {keys} as a string")


def _base64(text: bytes) -> bytes:
    text = text.lstrip()
    if text[:5] == b"data:":  # a data URL, as browsers make
        text = text.partition(b",")[2]
    try:
        return base64.b64decode(text.translate(_STANDARD_BASE64, _WHITE), validate=True)
    except binascii.Error as error:
        raise ImageError("base64", f"image base64 does not parse: {error}") from error
