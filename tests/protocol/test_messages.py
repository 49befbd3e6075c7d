"""The wire formats: exact bytes, round trips, and nothing but MessageError for anything bad."""

import math
import struct
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from devit_iot.errors import MessageError
from devit_iot.protocol.feature import Feature, Timing, longest_feature
from devit_iot.protocol.json_message import MAX_JSON_BYTES, JsonMessage
from devit_iot.protocol.label import Ranked
from devit_iot.protocol.status import AggregatorStatus, NodeStatus
from devit_iot.protocol.topics import ImageFilter
from tests.golden.make import (
    AGGREGATOR_STATUS,
    EARLIER,
    FEATURE,
    GOLDEN,
    LABEL,
    MESSAGES,
    NODE_STATUS,
    ROLLOUT,
    UPDATE_STATUS,
)
from tests.support.fleets import reason_of

JSON_MESSAGES = [LABEL, NODE_STATUS, AGGREGATOR_STATUS, ROLLOUT, UPDATE_STATUS]
JsonKind = type[JsonMessage]
U16, U32, U64 = 2**16 - 1, 2**32 - 1, 2**64 - 1

CAMERAS = st.text(
    st.characters(codec="utf-8", exclude_characters="/+#"), min_size=1, max_size=60
).filter(str.isprintable)
VALUES = hnp.arrays(np.float32, st.integers(0, 40), elements=st.floats(-65504, 65504, width=32))


@st.composite
def features(draw: st.DrawFn) -> Feature:
    parts = draw(st.integers(1, U16))
    return Feature(
        request_id=draw(st.binary(min_size=16, max_size=16)),
        fingerprint=draw(st.binary(min_size=8, max_size=8)),
        part=draw(st.integers(0, parts - 1)),
        parts=parts,
        camera=draw(CAMERAS),
        received_ms=draw(st.integers(0, U64)),
        timing=Timing(*(draw(st.integers(0, U32)) for _ in range(3))),
        values=draw(VALUES),
    )


def packed(feature: Feature, *, extensions: bytes, values: bytes, **wrong: int) -> bytes:
    """The layout field by field, as a C client would write it."""
    fields = {"header": 60 + len(extensions), "dtype": 1, "flags": 0, "count": len(values) // 2}
    fields |= wrong
    timing = feature.timing
    return b"".join(
        (
            b"DVF1",
            fields["header"].to_bytes(2, "little"),
            fields["dtype"].to_bytes(1, "little"),
            fields["flags"].to_bytes(1, "little"),
            feature.request_id,
            feature.fingerprint,
            feature.part.to_bytes(2, "little"),
            feature.parts.to_bytes(2, "little"),
            fields["count"].to_bytes(4, "little"),
            feature.received_ms.to_bytes(8, "little"),
            timing.wait_us.to_bytes(4, "little"),
            timing.decode_us.to_bytes(4, "little"),
            timing.compute_us.to_bytes(4, "little"),
            extensions,
            values,
        )
    )


def camera_tag(name: bytes) -> bytes:
    return bytes((1, len(name))) + name


def same(found: Feature, wanted: Feature) -> bool:
    replace = msgspec.structs.replace
    empty = np.empty(0, np.float32)
    return (
        replace(found, values=empty).encode() == replace(wanted, values=empty).encode()
        and found.camera == wanted.camera
        and found.values.dtype == np.float32
        and found.values.tolist() == wanted.values.tolist()
    )


@pytest.mark.parametrize("name", MESSAGES)
def test_golden_bytes(name: str) -> None:
    stored = (GOLDEN / name).read_bytes()
    assert MESSAGES[name].encode() == stored
    decoded = type(MESSAGES[name]).decode(stored)
    if isinstance(decoded, Feature):
        assert same(decoded, FEATURE)
    else:
        assert decoded == MESSAGES[name]


@pytest.mark.parametrize("name", EARLIER)
def test_what_earlier_services_say_still_decodes(name: str) -> None:
    stored = (GOLDEN / name).read_bytes()
    assert type(EARLIER[name]).decode(stored) == EARLIER[name]


def test_feature_layout() -> None:
    name = FEATURE.camera.encode()
    assert len(name) == 7  # 9 bytes with tag and length, 3 of padding
    values = struct.pack("<5e", *FEATURE.values.tolist())
    assert FEATURE.encode() == packed(
        FEATURE, extensions=camera_tag(name) + bytes(3), values=values
    )


@settings(max_examples=300, deadline=None)
@given(features())
def test_feature_round_trip(feature: Feature) -> None:
    decoded = Feature.decode(feature.encode())
    fields = [name for name in Feature.__struct_fields__ if name != "values"]
    for name in fields:
        assert getattr(decoded, name) == getattr(feature, name)
    assert decoded.values.dtype == np.float32
    assert decoded.values.shape == feature.values.shape
    wanted = feature.values.astype(np.float64)
    bound = np.maximum(2.0**-11 * np.abs(wanted), 2.0**-25)  # half a unit; below 2^-14 absolute
    assert (np.abs(decoded.values - wanted) <= bound).all()
    assert decoded.encode() == Feature.decode(decoded.encode()).encode()


def test_feature_size_is_stated() -> None:
    feature = msgspec.structs.replace(FEATURE, camera="ab", values=np.zeros(192, np.float32))
    assert len(feature.encode()) == 60 + 4 + 2 * 192


def test_long_times_saturate() -> None:
    feature = msgspec.structs.replace(FEATURE, timing=Timing(2**40, 2**32, 5))
    assert Feature.decode(feature.encode()).timing == Timing(U32, U32, 5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 65520.0, -1e30])
def test_values_beyond_float16_are_refused_at_encode(bad: float) -> None:
    values = np.array([0, bad, 0], np.float32)
    with pytest.raises(MessageError) as caught:
        msgspec.structs.replace(FEATURE, values=values).encode()
    assert caught.value.reason == "not_finite"


@pytest.mark.parametrize("bits", [0x7C00, 0xFC00, 0x7C01, 0x7E00, 0xFFFF])
def test_values_that_are_not_finite_are_refused_at_decode(bits: int) -> None:
    payload = packed(
        FEATURE, extensions=camera_tag(b"ab"), values=bytes(2) + bits.to_bytes(2, "little")
    )
    with pytest.raises(MessageError) as caught:
        Feature.decode(payload)
    assert caught.value.reason == "not_finite"


@pytest.mark.parametrize(
    "camera",
    ["x" * 64, "é" * 64, "\N{CAMERA}" * 63 + "€"],
    ids=["64 bytes", "128 bytes", "255 bytes"],
)
def test_every_camera_that_a_topic_gives_can_be_sent(camera: str) -> None:
    route = ImageFilter("cameras/{camera}/image").match(f"cameras/{camera}/image")
    assert route is not None
    feature = msgspec.structs.replace(FEATURE, camera=route.camera)
    assert Feature.decode(feature.encode()).camera == camera


@pytest.mark.parametrize(
    "extensions",
    [
        b"\x07\x03abc" + camera_tag(b"door"),
        b"\xff\x00" + camera_tag(b"door"),
        b"\x00\x00" + camera_tag(b"door") + b"\x00",
        b"\x02\xff" + bytes(range(255)) + camera_tag(b"door"),
        camera_tag(b"door") + b"\x09\x01z",
    ],
)
def test_unknown_extensions_are_skipped(extensions: bytes) -> None:
    feature = Feature.decode(packed(FEATURE, extensions=extensions, values=bytes(4)))
    assert (feature.camera, feature.values.tolist()) == ("door", [0.0, 0.0])


DOOR = camera_tag(b"door")


@pytest.mark.parametrize(
    ("reason", "payload"),
    [
        ("magic", b""),
        ("magic", b"DVF1"),
        ("magic", b"DVF2" + FEATURE.encode()[4:]),
        ("magic", FEATURE.encode()[:59]),
        ("version", packed(FEATURE, extensions=DOOR, values=bytes(4), dtype=2)),
        *(
            ("version", packed(FEATURE, extensions=DOOR, values=bytes(4), flags=1 << bit))
            for bit in range(8)
        ),
        ("length", packed(FEATURE, extensions=DOOR, values=bytes(4), count=3)),
        ("length", packed(FEATURE, extensions=DOOR, values=bytes(4), count=U32)),
        ("length", packed(FEATURE, extensions=DOOR, values=bytes(4), header=59)),
        ("length", packed(FEATURE, extensions=DOOR, values=bytes(4), header=0)),
        ("length", packed(FEATURE, extensions=DOOR, values=bytes(4), header=0, count=35)),
        ("length", packed(FEATURE, extensions=DOOR, values=bytes(4), header=58, count=6)),
        ("length", packed(FEATURE, extensions=DOOR, values=bytes(4), header=U16)),
        ("length", packed(FEATURE, extensions=DOOR, values=bytes(5), count=2)),
        ("length", packed(FEATURE, extensions=bytes(4040) + DOOR, values=b"")),
        ("length", FEATURE.encode()[:-1]),
        ("length", FEATURE.encode() + b"\0"),
        (
            "part",
            packed(msgspec.structs.replace(FEATURE, part=4), extensions=DOOR, values=b""),
        ),
        ("extension", packed(FEATURE, extensions=b"", values=b"")),
        ("extension", packed(FEATURE, extensions=bytes(4), values=b"")),
        ("extension", packed(FEATURE, extensions=b"\x01", values=b"")),
        ("extension", packed(FEATURE, extensions=b"\x01\x05door", values=b"door")),
        ("extension", packed(FEATURE, extensions=b"\x07\x05door", values=b"door")),
        ("camera", packed(FEATURE, extensions=camera_tag(b""), values=b"")),
        ("camera", packed(FEATURE, extensions=camera_tag(b"\xff"), values=b"")),
        ("camera", packed(FEATURE, extensions=camera_tag(b"a/b"), values=b"")),
        ("camera", packed(FEATURE, extensions=camera_tag(b"+"), values=b"")),
        ("camera", packed(FEATURE, extensions=camera_tag(b"a#"), values=b"")),
        ("camera", packed(FEATURE, extensions=camera_tag(b"a\n"), values=b"")),
        ("camera", packed(FEATURE, extensions=camera_tag(b"\x1b[2J"), values=b"")),
        ("camera", packed(FEATURE, extensions=camera_tag("\u202edoor".encode()), values=b"")),
        ("camera", packed(FEATURE, extensions=camera_tag(b"x" * 65), values=b"")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_features_are_refused(reason: str, payload: bytes) -> None:
    with pytest.raises(MessageError) as caught:
        Feature.decode(payload)
    assert caught.value.reason == reason


def decode_or_refuse(payload: bytes) -> Feature | None:
    try:
        return Feature.decode(payload)
    except MessageError:
        return None


def check_any_bytes(payload: bytes) -> None:
    feature = decode_or_refuse(payload)
    if feature is not None:
        assert feature.part < feature.parts
        assert np.isfinite(feature.values).all()
        assert 60 + 2 * feature.values.size <= len(payload)
        assert feature.camera
        assert same(Feature.decode(feature.encode()), feature)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.binary(max_size=120).map(b"DVF1".__add__)))
def test_arbitrary_bytes_never_break_a_decoder(payload: bytes) -> None:
    check_any_bytes(payload)
    for message in JSON_MESSAGES:
        assert reason_of(message.decode, payload) in {None, "json"}


def mutate(payload: bytes, flips: list[tuple[int, int]], cut: int) -> bytes:
    changed = bytearray(payload)
    for position, mask in flips:
        changed[position % len(changed)] ^= mask
    return bytes(changed[: len(changed) - cut % len(changed)])


FLIPS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), max_size=4)
CUTS = st.one_of(st.just(0), st.integers(0, 10_000))


@settings(max_examples=400, deadline=None)
@given(features(), FLIPS, CUTS)
def test_damaged_features_never_break_the_decoder(
    feature: Feature, flips: list[tuple[int, int]], cut: int
) -> None:
    check_any_bytes(mutate(feature.encode(), flips, cut))


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


def test_the_longest_header_is_read() -> None:
    payload = packed(FEATURE, extensions=bytes(4030) + camera_tag(b"door"), values=bytes(6))
    assert len(payload) == longest_feature(3)
    assert Feature.decode(payload).camera == "door"


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


@pytest.mark.parametrize("status", [NODE_STATUS, AGGREGATOR_STATUS])
def test_the_last_will_differs_in_its_state_only(status: NodeStatus | AggregatorStatus) -> None:
    online = msgspec.structs.replace(status, state="online")
    assert online.gone() == msgspec.structs.replace(status, state="offline")


def test_an_unknown_state_is_refused() -> None:
    with pytest.raises(MessageError):
        NodeStatus.decode(NODE_STATUS.encode().replace(b'"online"', b'"asleep"'))


def test_total_time() -> None:
    assert Timing(1, 20, 300).total_us == 321
