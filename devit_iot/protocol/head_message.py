"""Which version of a head shall answer, and what aggregators say of it.

Normative: docs/protocol.md, section 17.
"""

from typing import Annotated, Self

import msgspec

from devit_iot.errors import MessageError
from devit_iot.protocol.json_message import MAX_JSON_BYTES, JsonMessage
from devit_iot.protocol.text import is_camera

MAX_HEAD_MESSAGE = 8 * 2**20
"""Bytes of a HeadMessage."""

MAX_CAMERAS = 64
"""Cameras that one message gives a head."""

MAX_HEADS = 32
"""Heads that an aggregator takes over MQTT."""

Version = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{16})?$")]
PushId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{8}$")]


class HeadMessage(msgspec.Struct, frozen=True):
    """What shall answer, as retained JSON; bytes are base64.

    Attributes:
        push: 8 random hex digits, which aggregators repeat in their report.
        version: version that shall be live; empty: the head answers for no camera any more, but
            for those that the configuration gives it.
        cameras: cameras whose main head it is from now on; null: those that it had.
        manifest: content of head.json; empty if the aggregators have this version.
        signature: content of head.sig; empty if it is not signed.
        tensors: content of head.safetensors; empty with ``manifest``.
    """

    push: PushId
    version: Version
    cameras: tuple[str, ...] | None = None
    manifest: bytes = b""
    signature: bytes = b""
    tensors: bytes = b""

    def encode(self) -> bytes:
        """The JSON form.

        Raises:
            MessageError: it would be longer than :data:`MAX_HEAD_MESSAGE`.
        """
        text = msgspec.json.encode(self)
        if len(text) > MAX_HEAD_MESSAGE:
            raise MessageError(
                "too_large",
                f"the head takes {len(text)} bytes as a message, {MAX_HEAD_MESSAGE} are the most: "
                "copy its folder into the bundle's `heads` instead",
            )
        return text

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read the JSON form.

        Raises:
            MessageError: it is too long, does not parse, or names what can be no camera.
        """
        if len(payload) > MAX_HEAD_MESSAGE:
            raise MessageError("too_large", f"HeadMessage of {len(payload)} bytes")
        try:
            message = msgspec.json.decode(payload, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MessageError("json", f"HeadMessage does not parse: {error}") from error
        cameras = message.cameras or ()
        if len(cameras) > MAX_CAMERAS or not all(map(is_camera, cameras)):
            raise MessageError("camera", f"HeadMessage names over {MAX_CAMERAS} cameras, or none")
        return message


class HeadReport(msgspec.Struct, frozen=True):
    """One head at one aggregator.

    Attributes:
        name: name of the head.
        version: version that is live; empty: none.
        before: version that a person can go back to; empty: none.
        cameras: cameras that a HeadMessage gave it.
        classes: number of its classes.
        images: number of images that it was fitted on.
        accuracy: share of right answers about images that no fit had seen.
        push: id of the last HeadMessage about it; empty: none came.
        problem: why that message changed nothing, in words; empty if it did.
    """

    name: str
    version: str = ""
    before: str = ""
    cameras: tuple[str, ...] = ()
    classes: int = 0
    images: int = 0
    accuracy: float = 0.0
    push: str = ""
    problem: str = ""


class HeadsReport(JsonMessage, frozen=True):
    """Every head that a bundle of an aggregator has beside ``default``, as retained JSON.

    Attributes:
        heads: one entry each; those of the bundle that is served.
    """

    heads: tuple[HeadReport, ...] = ()

    def encode_short(self) -> bytes:
        """The JSON form, without the cameras if it were too long with them."""
        text = self.encode()
        if len(text) <= MAX_JSON_BYTES:
            return text
        short = (msgspec.structs.replace(head, cameras=()) for head in self.heads)
        return HeadsReport(tuple(short)).encode()
