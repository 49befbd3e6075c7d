"""The steady state of one head on one camera: what its labels say for some time.

Normative: docs/protocol.md, section 14.
"""

from datetime import datetime
from typing import Annotated

import msgspec

from devit_iot.protocol.json_message import JsonMessage, PartCount

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class SteadyState(JsonMessage, frozen=True):
    """The state of one head on one camera, as retained JSON.

    Attributes:
        camera: name derived from the image's topic.
        head: name of the head.
        state: name of a class, or :data:`devit_iot.protocol.label.UNKNOWN`.
        class_index: index of the class in the head's ``classes``; -1 for ``unknown``.
        since: when the fleet received the image that changed the state, by the aggregator's clock.
        before: the state before; empty if there was none.
        confidence: probability of the class in the label that changed the state.
        request_id: request of that label, 32 hex digits.
        head_version: fingerprint of the head, 16 hex digits.
        fingerprint: fingerprint of the bundle whose head it is, 16 hex digits.
        received_ms: part -> when its node received that image, Unix milliseconds of the node's own
            clock; only for an image of ``every``.
    """

    camera: str
    head: str
    state: str
    class_index: int
    since: Moment
    before: str = ""
    confidence: float = 0.0
    request_id: str = ""
    head_version: str = ""
    fingerprint: str = ""
    received_ms: dict[PartCount, int] = {}  # noqa: RUF012 - msgspec copies it
