"""What an aggregator says of an image that has its label: the request id, 16 bytes, never retained.

Normative: docs/protocol.md.
"""

from devit_iot.errors import MessageError

_ID_BYTES = 16


def decode_enough(payload: bytes, *, retained: bool) -> bytes:
    """The request id in such a message.

    Raises:
        MessageError: the broker kept it from before, or it has another length.
    """
    if retained:
        raise MessageError("retained", "the broker kept it from before")
    if len(payload) != _ID_BYTES:
        raise MessageError("length", f"{len(payload)} bytes, a request id has {_ID_BYTES}")
    return payload
