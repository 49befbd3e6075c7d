"""Features as they are on the wire, made by hand and by hypothesis; shared by the message tests."""

import msgspec
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from devit_iot.protocol.feature import Feature, Timing

U16, U32, U64 = 2**16 - 1, 2**32 - 1, 2**64 - 1
FLIPS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), max_size=4)
CUTS = st.one_of(st.just(0), st.integers(0, 10_000))

_CAMERAS = st.text(
    st.characters(codec="utf-8", exclude_characters="/+#"), min_size=1, max_size=60
).filter(str.isprintable)
_VALUES = hnp.arrays(np.float32, st.integers(0, 40), elements=st.floats(-65504, 65504, width=32))


@st.composite
def features(draw: st.DrawFn) -> Feature:
    parts = draw(st.integers(1, U16))
    return Feature(
        request_id=draw(st.binary(min_size=16, max_size=16)),
        fingerprint=draw(st.binary(min_size=8, max_size=8)),
        part=draw(st.integers(0, parts - 1)),
        parts=parts,
        camera=draw(_CAMERAS),
        received_ms=draw(st.integers(0, U64)),
        timing=Timing(*(draw(st.integers(0, U32)) for _ in range(3))),
        values=draw(_VALUES),
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


def mutate(payload: bytes, flips: list[tuple[int, int]], cut: int) -> bytes:
    changed = bytearray(payload)
    for position, mask in flips:
        changed[position % len(changed)] ^= mask
    return bytes(changed[: len(changed) - cut % len(changed)])
