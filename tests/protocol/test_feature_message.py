"""A feature on the wire: exact bytes, round trips; anything bad is a MessageError, nothing else."""

import math
import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devit_iot.errors import MessageError
from devit_iot.protocol.feature import Feature, Timing, feature_bytes, longest_feature
from devit_iot.protocol.topics import ImageFilter
from tests.golden.make import FEATURE
from tests.protocol.wire import CUTS, FLIPS, U16, U32, camera_tag, features, mutate, packed, same

DOOR = camera_tag(b"door")


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


def test_total_time() -> None:
    assert Timing(1, 20, 300).total_us == 321


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
        b"\x0a\xff" + bytes(range(255)) + camera_tag(b"door"),
        camera_tag(b"door") + b"\x09\x01z",
    ],
)
def test_unknown_extensions_are_skipped(extensions: bytes) -> None:
    feature = Feature.decode(packed(FEATURE, extensions=extensions, values=bytes(4)))
    assert (feature.camera, feature.values.tolist()) == ("door", [0.0, 0.0])


@pytest.mark.parametrize("count", [0, 1, 192])
def test_the_size_of_a_feature_is_known_before_it_is_made(count: int) -> None:
    assert feature_bytes(count) == len(packed(FEATURE, extensions=b"", values=bytes(2 * count)))


def test_the_longest_header_is_read() -> None:
    payload = packed(FEATURE, extensions=bytes(4030) + camera_tag(b"door"), values=bytes(6))
    assert len(payload) == longest_feature(3)
    assert Feature.decode(payload).camera == "door"


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
        ("extension", packed(FEATURE, extensions=DOOR + b"\x02\x07" + bytes(7), values=b"")),
        ("extension", packed(FEATURE, extensions=b"\x02\x09" + bytes(9) + DOOR, values=b"")),
        ("extension", packed(FEATURE, extensions=DOOR + b"\x02\x08" + bytes(7), values=b"")),
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
def test_arbitrary_bytes_never_break_the_decoder(payload: bytes) -> None:
    check_any_bytes(payload)


@settings(max_examples=400, deadline=None)
@given(features(), FLIPS, CUTS)
def test_damaged_features_never_break_the_decoder(
    feature: Feature, flips: list[tuple[int, int]], cut: int
) -> None:
    check_any_bytes(mutate(feature.encode(), flips, cut))
