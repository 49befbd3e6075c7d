"""What a person who teaches and the process that collects pictures say to each other.

Normative: docs/protocol.md, section 18.
"""

from typing import Annotated, Literal

import msgspec

from devit_iot.errors import MessageError
from devit_iot.protocol.json_message import MAX_JSON_BYTES, JsonMessage
from devit_iot.protocol.text import is_plain

MAX_CLASS_LENGTH = 64
"""Characters of a class's name."""

MAX_SHOWN = 24
"""Pictures in one answer."""

MAX_MARKED = 500
"""Pictures that one message marks or deletes."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
AskId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{8}$")]
Text = Annotated[str, msgspec.Meta(max_length=256)]
Pictures = Annotated[tuple[Count, ...], msgspec.Meta(max_length=MAX_MARKED)]


class TeachState(JsonMessage, frozen=True):
    """What the collecting process keeps, as retained JSON; its last will says that it ended.

    Attributes:
        collecting: whether pictures are kept now.
        cameras: number of kept pictures by camera.
        size: bytes of what is kept.
        last: latest pictures that are kept of each camera.
        least_certain: least certain ones that are kept beside them.
        max_mib: MiB of everything that is kept.
        max_days: days after which a picture without a class is deleted.
        can_fit: whether heads can be fitted here.
        problem: what is wrong, in words; empty if nothing is.
        dropped: pictures that came too fast to be kept, or without the features of all parts.
        refused: refused messages, by reason.
    """

    collecting: bool
    cameras: dict[str, Count] = msgspec.field(default_factory=dict)
    size: Count = 0
    last: Count = 0
    least_certain: Count = 0
    max_mib: Count = 0
    max_days: Count = 0
    can_fit: bool = False
    problem: str = ""
    dropped: Count = 0
    refused: dict[str, Count] = msgspec.field(default_factory=dict)


class Ask(msgspec.Struct, frozen=True, tag_field="do"):
    """What all that a person asks for has: the id that the answer repeats."""

    id: AskId


class ShowPictures(Ask, frozen=True, tag="pictures"):
    """Show some pictures of a camera.

    Attributes:
        camera: name of the camera.
        head: head whose classes are shown with the pictures.
        order: ``recent``: the latest first; ``unsure``: the least certain first; ``marked``: those
            with a class, the latest first.
        offset: pictures to leave out at first.
    """

    camera: Text
    head: Text
    order: Literal["recent", "unsure", "marked"] = "recent"
    offset: Count = 0


class MarkPictures(Ask, frozen=True, tag="mark"):
    """Give pictures a class for a head; an empty one takes theirs away."""

    head: Text
    pictures: Pictures
    name: Text


class DeletePictures(Ask, frozen=True, tag="delete"):
    """Delete pictures for good."""

    pictures: Pictures


class FitHead(Ask, frozen=True, tag="fit"):
    """Fit a head to the pictures that have a class for it.

    Attributes:
        head: name of the head.
        each: whether each picture counts by itself, however soon it followed another one.
    """

    head: Text
    each: bool = False


class PutLive(Ask, frozen=True, tag="live"):
    """Let the head that was fitted last answer, as the main one of some cameras."""

    head: Text
    cameras: Annotated[tuple[Text, ...], msgspec.Meta(max_length=64)]


class GoBack(Ask, frozen=True, tag="undo"):
    """Let the version before of a head answer again."""

    head: Text


TeachAsk = ShowPictures | MarkPictures | DeletePictures | FitHead | PutLive | GoBack


def decode_ask(payload: bytes) -> TeachAsk:
    """Read what a person asks for.

    Raises:
        MessageError: it is too long, does not parse, or has a text that cannot be printed.
    """
    if len(payload) > MAX_JSON_BYTES:
        raise MessageError("too_large", f"TeachAsk of {len(payload)} bytes")
    try:
        ask: TeachAsk = msgspec.json.decode(payload, type=TeachAsk)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError("json", f"TeachAsk does not parse: {error}") from error
    texts = [getattr(ask, name, "") for name in ("camera", "head", "name")]
    if not all(map(is_plain, (*texts, *getattr(ask, "cameras", ())))):
        raise MessageError("text", "a text of TeachAsk cannot be printed")
    return ask


class ShownPicture(msgspec.Struct, frozen=True):
    """One kept picture.

    Attributes:
        id: its number.
        at_ms: when it came, Unix milliseconds of the collecting machine.
        label: what the camera's main head said of it; empty: no label came.
        confidence: the probability of that; null: no label came.
        name: class that it was given for the head in question; empty: none.
        small: a small JPEG of it, base64.
        given: class that the fitted head gives it, for a wrong one.
    """

    id: int
    at_ms: int
    label: str
    confidence: float | None
    name: str
    small: bytes
    given: str = ""


class FittedClass(msgspec.Struct, frozen=True):
    """One class of a fitted head.

    Attributes:
        name: name of the class.
        images: number of pictures that it was fitted on.
        recall: share of them that were given this class by fits that had not seen them.
    """

    name: str
    images: int
    recall: float


class TeachAnswer(msgspec.Struct, frozen=True):
    """The answer to one ask, as JSON; only what it asked for is filled.

    Attributes:
        id: id of the ask.
        error: why it was not done, in words; empty if it was.
        pictures: pictures to show, or that a fitted head gets wrong, the surest first.
        more: whether there are further ones.
        classes: number of marked pictures by class, for the head in question.
        accuracy: share of right answers about pictures that no fit had seen.
        measured: number of these pictures.
        unknown: probability below which the head says ``unknown``.
        fitted: the classes of a fitted head.
        version: version that is live now; empty: none.
        note: what else is to be said, in words.
    """

    id: str
    error: str = ""
    pictures: tuple[ShownPicture, ...] = ()
    more: bool = False
    classes: dict[str, int] = {}
    accuracy: float = 0.0
    measured: int = 0
    unknown: float = 0.0
    fitted: tuple[FittedClass, ...] = ()
    version: str = ""
    note: str = ""
