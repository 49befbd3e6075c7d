"""Image messages: the file in them, whichever of its three forms a camera sends.

Normative: docs/protocol.md, section 4. What does not parse raises ImageError with a stable reason;
what is allocated is a few times as large as the payload at most.
"""

import binascii
import codecs
import contextlib
import re
import string

import msgspec

from devit_iot.errors import ImageError

IMAGE_SUFFIXES = frozenset({".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".webp"})
"""Of the image files that a fleet takes."""

JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"
_RIFF, _WEBP = b"RIFF", b"WEBP"

_START = 64
_ALPHABET = (string.ascii_letters + string.digits + "+/").encode()
_STANDARD = bytes.maketrans(b"-_", b"+/")
_WHITE = b" \t\r\n\v\f"
_BASE64_TEXT = frozenset(_ALPHABET + b"=-_\\" + _WHITE)
_QUOTED = re.compile(rb"""b?(['"])""")
_ESCAPED = ((b"\\/", b"/"), (b"\\n", b""), (b"\\r", b""))
_PERCENT = tuple(
    (code, sign)
    for number, sign in ((b"2B", b"+"), (b"2F", b"/"), (b"3D", b"="), (b"0D", b""), (b"0A", b""))
    for code in (b"%" + number, b"%" + number.lower())
)

# Numbers that JSON has not, as Python and the printf of microcontrollers write them.
_NO_NUMBER = re.compile(rb"([:\[,]\s*)[-+]?(?:nan|inf(?:inity)?)(?=\s*[,}\]])", re.IGNORECASE)
_MAX_NO_NUMBERS = 1000


class _JsonImage(msgspec.Struct):
    """The fields that may hold an image, in the order of preference; the others make no objects."""

    image: msgspec.Raw = msgspec.Raw()
    imagebase64: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()


def is_webp(file: bytes) -> bool:
    """Whether it begins as a WebP file does."""
    return file.startswith(_RIFF) and file[8:12] == _WEBP


def is_picture(file: bytes) -> bool:
    """Whether it begins as a JPEG, PNG or WebP file does."""
    return file.startswith((JPEG, PNG)) or is_webp(file)


def unwrap_image(payload: bytes) -> bytes:
    """The image file in an image message: raw, as base64 text, or in a JSON object.

    Raises:
        ImageError: ``empty``; ``json`` or ``base64`` that does not parse; ``unknown_codec``: what
            the text holds is no JPEG, PNG or WebP file.
    """
    if is_picture(payload):
        return payload
    text = _text(payload)
    start = text[:_START].lstrip(_WHITE)
    if start[:1] == b"{":
        return _from_json(_until_nul(text))
    start = _unquoted(start)
    if _is_data_url(start) or _BASE64_TEXT.issuperset(start):
        return _from_base64(_until_nul(text), "payload")
    return payload


def _text(payload: bytes) -> bytes:
    """The payload in UTF-8 without the byte order mark that programs on Windows put before text."""
    if payload.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        with contextlib.suppress(UnicodeDecodeError):
            payload = payload.decode("utf-16").encode()
    return payload.removeprefix(codecs.BOM_UTF8)


def _until_nul(text: bytes) -> bytes:
    """``text`` without the end of a C string and the rest of the buffer behind it."""
    return text.partition(b"\0")[0]


def _unquoted(text: bytes) -> bytes:
    """``text`` without the quotes of JSON, or those that Python's ``str`` puts around bytes."""
    quote = _QUOTED.match(text)
    return text if quote is None else text[quote.end() :].removesuffix(quote[1])


def _is_data_url(start: bytes) -> bool:
    lower = start.lower()
    return lower.startswith(b"data:") or b";base64," in lower


def _from_json(text: bytes) -> bytes:
    """The picture of the first field that holds one."""
    fields = _parsed(text)
    problems = []
    for key in _JsonImage.__struct_fields__:
        value = getattr(fields, key)
        if bytes(memoryview(value)[:1]) == b'"':
            try:
                return _from_base64(_string(value), f"field '{key}' of the image JSON")
            except ImageError as error:
                problems.append(error)
    if not problems:
        keys = ", ".join(_JsonImage.__struct_fields__)
        raise ImageError("json", f"image JSON has none of {keys} as a string")
    raise next((problem for problem in problems if problem.reason != "empty"), problems[0])


def _parsed(text: bytes) -> _JsonImage:
    """The JSON object, also one with line breaks inside strings, NaN or infinity."""
    try:
        return msgspec.json.decode(text, type=_JsonImage)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        repaired = _NO_NUMBER.sub(rb"\1null", text.translate(None, b"\r\n\t"), _MAX_NO_NUMBERS)
        if repaired == text:
            raise _no_json(error) from error
    try:
        return msgspec.json.decode(repaired, type=_JsonImage)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _no_json(error) from error


def _string(value: msgspec.Raw) -> bytes:
    try:
        return msgspec.json.decode(value, type=str).encode()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _no_json(error) from error


def _no_json(error: Exception) -> ImageError:
    return ImageError("json", f"image JSON does not parse: {error}")


def _from_base64(text: bytes, what: str) -> bytes:
    """The picture in base64 text, with or without what senders put around it."""
    body = _bare(text).translate(_STANDARD, _WHITE).rstrip(b"=")
    if not body:
        raise ImageError("empty", f"{what} holds no image")
    strange = body.translate(None, _ALPHABET)
    if strange:
        place = body.index(strange[:1])
        raise _no_base64(what, f"{strange[:1]!r} stands behind {place} characters of it")
    if len(body) % 4 == 1:
        raise _no_base64(what, f"{len(body)} characters are one too many, or some are missing")
    file = binascii.a2b_base64(body + b"=" * (-len(body) % 4))
    if not is_picture(file):
        raise ImageError(
            "unknown_codec",
            f"{what} looks like base64 text; its {len(file)} bytes are no JPEG, PNG or WebP image",
        )
    return file


def _no_base64(what: str, why: str) -> ImageError:
    return ImageError("base64", f"{what} looks like base64 text and is none: {why}")


def _bare(text: bytes) -> bytes:
    """``text`` without quotes, the head of a data URL, and the escapes of strings and URLs."""
    bare = _unquoted(text.strip(_WHITE)).strip(_WHITE)
    if _is_data_url(bare[:_START]):
        bare = _replaced(bare.partition(b",")[2], b"%", _PERCENT)
    return _replaced(bare, b"\\", _ESCAPED)


def _replaced(text: bytes, sign: bytes, pairs: tuple[tuple[bytes, bytes], ...]) -> bytes:
    if sign in text:
        for one, other in pairs:
            text = text.replace(one, other)
    return text
