"""What labels and statuses share: JSON that people and other programs read too."""

from typing import Annotated, Self

import msgspec

from devit_iot.errors import MessageError
from devit_iot.protocol.text import MAX_TEXT, is_plain

MAX_JSON_BYTES = 64 * 2**10
"""Of a label or status."""


PartCount = Annotated[int, msgspec.Meta(ge=0, le=2**16 - 1)]  # as in a feature


class JsonMessage(msgspec.Struct, frozen=True):
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
