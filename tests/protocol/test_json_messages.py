"""What labels and statuses share as JSON: nothing but MessageError for anything bad."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devit_iot.errors import MessageError
from devit_iot.protocol.json_message import MAX_JSON_BYTES, JsonMessage
from devit_iot.protocol.label import Ranked
from devit_iot.protocol.status import NodeStatus
from tests.golden.make import (
    AGGREGATOR_STATUS,
    LABEL,
    NODE_STATUS,
    ROLLOUT,
    STEADY_STATE,
    UPDATE_STATUS,
)
from tests.protocol.wire import CUTS, FLIPS, mutate
from tests.support.fleets import reason_of

JSON_MESSAGES = [
    LABEL,
    NODE_STATUS,
    AGGREGATOR_STATUS,
    ROLLOUT,
    UPDATE_STATUS,
    STEADY_STATE,
]


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.binary(max_size=120).map(b"DVF1".__add__)))
def test_arbitrary_bytes_never_break_a_decoder(payload: bytes) -> None:
    for message in JSON_MESSAGES:
        assert reason_of(message.decode, payload) in {None, "json"}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(JSON_MESSAGES), FLIPS, CUTS)
def test_damaged_json_never_breaks_a_decoder(
    message: JsonMessage, flips: list[tuple[int, int]], cut: int
) -> None:
    payload = mutate(message.encode(), flips, cut)
    reason = reason_of(message.decode, payload)
    assert reason in {None, "json", "text"}  # a flipped bit may make a character unprintable
    if reason is None:
        decoded = message.decode(payload)
        assert type(decoded) is type(message)
        assert message.decode(decoded.encode()) == decoded


def required(message: JsonMessage) -> str:
    """A field that must be there."""
    return "parts" if hasattr(message, "parts") else message.__struct_fields__[0]


@pytest.mark.parametrize("message", JSON_MESSAGES, ids=lambda m: type(m).__name__)
class TestJson:
    def test_unknown_fields_are_skipped(self, message: Any) -> None:  # noqa: ANN401
        fields = msgspec.json.decode(message.encode(), type=dict[str, Any])
        fields["from_the_future"] = [{"a": 1}]
        assert message.decode(msgspec.json.encode(fields)) == message

    def test_a_required_field_cannot_be_missing(self, message: Any) -> None:  # noqa: ANN401
        fields = msgspec.json.decode(message.encode(), type=dict[str, Any])
        del fields[required(message)]
        with pytest.raises(MessageError, match=required(message)):
            message.decode(msgspec.json.encode(fields))

    def test_a_wrong_type_is_refused(self, message: Any) -> None:  # noqa: ANN401
        fields = msgspec.json.decode(message.encode(), type=dict[str, Any])
        fields[required(message)] = ["4"]
        with pytest.raises(MessageError, match=required(message)):
            message.decode(msgspec.json.encode(fields))

    @pytest.mark.parametrize(
        "payload",
        [
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b'{"refused":' + b"[" * 100_000,
            b"\xff\xfe",
            b'"\xff"',
            b'{"state":"\\ud800"}',
            b"null",
        ],
        ids=range(7),
    )
    def test_hostile_text_is_refused(self, message: Any, payload: bytes) -> None:  # noqa: ANN401
        with pytest.raises(MessageError):
            message.decode(payload)


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "\u202ered", "\x9b", "\0", "x" * 1001])
@pytest.mark.parametrize(
    ("message", "place"),
    [
        (LABEL, lambda text: {"label": text}),
        (LABEL, lambda text: {"camera": text}),
        (LABEL, lambda text: {"top5": (Ranked(text, 0, 1.0),)}),
        (LABEL, lambda text: {"latency_ms": {text: 1.0}}),
        (NODE_STATUS, lambda text: {"engine": text}),
        (NODE_STATUS, lambda text: {"refused": {text: 1}}),
        (AGGREGATOR_STATUS, lambda text: {"version": text}),
    ],
)
def test_a_text_that_may_not_be_shown_is_refused(
    message: Any,  # noqa: ANN401
    place: Callable[[str], dict[str, Any]],
    text: str,
) -> None:
    kind = type(message)
    assert kind.decode(msgspec.structs.replace(message, **place("x" * 1000)).encode())
    with pytest.raises(MessageError) as caught:
        kind.decode(msgspec.structs.replace(message, **place(text)).encode())
    assert caught.value.reason == "text"
    assert text[:1000] not in str(caught.value)


@pytest.mark.parametrize(
    ("message", "place"),
    [
        (LABEL, lambda number: {"class_index": number}),
        (LABEL, lambda number: {"top5": (Ranked("ant", number, 1.0),)}),
        (NODE_STATUS, lambda number: {"refused": {"damaged": number}}),
        (AGGREGATOR_STATUS, lambda number: {"labels": number}),
    ],
)
def test_an_integer_fits_in_64_bits(
    message: Any,  # noqa: ANN401
    place: Callable[[int], dict[str, Any]],
) -> None:
    kind = type(message)
    largest = msgspec.structs.replace(message, **place(2**63 - 1))
    assert kind.decode(largest.encode()) == largest
    assert reason_of(kind.decode, largest.encode().replace(b"%d" % (2**63 - 1), b"9" * 4000))
    for huge in (2**63, -(2**63)):
        text = largest.encode().replace(b"%d" % (2**63 - 1), b"%d" % huge)
        assert reason_of(kind.decode, text) == "json"


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (LABEL, b'"parts":4'),
        (LABEL, b'"parts_used":[0'),
        (NODE_STATUS, b'"part":2'),
        (AGGREGATOR_STATUS, b'"parts_online":[0'),
    ],
)
def test_parts_are_as_many_as_a_feature_can_name(message: Any, field: bytes) -> None:  # noqa: ANN401
    whole = message.encode()
    assert field in whole
    for number, reason in ((b"65535", None), (b"65536", "json"), (b"-1", "json")):
        changed = whole.replace(field, field[:-1] + number)
        assert reason_of(type(message).decode, changed) == reason


def test_a_long_message_is_refused_before_it_is_read() -> None:
    payload = NODE_STATUS.encode()
    assert NodeStatus.decode(payload + b" " * (MAX_JSON_BYTES - len(payload))) == NODE_STATUS
    with pytest.raises(MessageError) as caught:
        NodeStatus.decode(payload + b" " * (MAX_JSON_BYTES + 1 - len(payload)))
    assert caught.value.reason == "too_large"
