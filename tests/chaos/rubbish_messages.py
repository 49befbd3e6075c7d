"""Features, labels and statuses that nobody should send, and why each is refused."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np

from devit_iot.bundle.reading import Bundle
from devit_iot.protocol.feature import MAX_HEADER_BYTES, Feature, Timing
from devit_iot.protocol.json_message import MAX_JSON_BYTES
from devit_iot.protocol.label import Label
from devit_iot.protocol.status import AggregatorStatus, NodeStatus
from tests.chaos.rubbish import CUTS, TEXTS
from tests.golden.make import AGGREGATOR_STATUS, LABEL, NODE_STATUS

HEADER = 60
_U32 = 2**32 - 1


class Rubbish(NamedTuple):
    """A payload, and the reason of its refusal."""

    name: str
    payload: bytes
    reason: str


def feature(bundle: Bundle, part: int = 0) -> Feature:
    """A feature that the bundle's aggregator takes."""
    return Feature(
        request_id=bytes(range(16)),
        fingerprint=bundle.fingerprint,
        part=part,
        parts=len(bundle.manifest.parts),
        camera="rubbish",
        received_ms=0,
        timing=Timing(1, 2, 3),
        values=np.ones(bundle.part(part).spec.feature_dim, np.float32),
    )


def with_extensions(good: bytes, extensions: bytes, *, header: int | None = None) -> bytes:
    """``good`` with other extensions, and perhaps a header length that is not theirs."""
    values = good[int.from_bytes(good[4:6], "little") :]
    size = HEADER + len(extensions) if header is None else header
    return good[:4] + size.to_bytes(2, "little") + good[6:HEADER] + extensions + values


def tag(value: bytes, number: int = 1) -> bytes:
    return bytes((number, len(value))) + value


def features(bundle: Bundle) -> Iterator[Rubbish]:
    """What an aggregator may find on its features' topic."""
    replace = msgspec.structs.replace
    good = feature(bundle)
    whole = good.encode()
    header = int.from_bytes(whole[4:6], "little")
    for cut in CUTS:
        size = int(cut * len(whole))
        yield Rubbish(f"cut at {cut}", whole[:size], "magic" if size < HEADER else "length")
    for bits in (0x7C00, 0xFC00, 0x7E00, 0x7C01, 0xFFFF):
        value = bits.to_bytes(2, "little")
        yield Rubbish(
            f"value {bits:#x}", whole[:header] + value + whole[header + 2 :], "not_finite"
        )
        yield Rubbish(f"last value {bits:#x}", whole[:-2] + value, "not_finite")
    for name, payload, reason in (
        ("nothing", b"", "magic"),
        ("next version", b"DVF2" + whole[4:], "magic"),
        ("json", NODE_STATUS.encode(), "magic"),
        ("dtype", whole[:6] + b"\2" + whole[7:], "version"),
        ("flags", whole[:7] + b"\x80" + whole[8:], "version"),
        ("no header", whole[:4] + b"\0\0" + whole[6:], "length"),
        ("short header", whole[:4] + b"\x3b\0" + whole[6:], "length"),
        ("long header", whole[:4] + b"\xff\xff" + whole[6:], "length"),
        ("no values", whole[:36] + bytes(4) + whole[40:], "length"),
        ("four thousand million values", whole[:36] + b"\xff" * 4 + whole[40:], "length"),
        ("half of them", whole[:36] + (2**31).to_bytes(4, "little") + whole[40:], "length"),
        ("a byte more", whole + b"\0", "length"),
        ("a value less", replace(good, values=good.values[1:]).encode(), "length"),
        ("a value more", replace(good, values=np.zeros(good.values.size + 1)).encode(), "length"),
        ("other part's size", replace(good, values=np.zeros(1)).encode(), "length"),
        ("ten thousand", whole + bytes(10_000), "length"),
        ("a megabyte", whole + bytes(900_000), "length"),
        ("other bundle", replace(good, fingerprint=b"stranger").encode(), "other_bundle"),
        ("no bundle", replace(good, fingerprint=bytes(8)).encode(), "other_bundle"),
        ("part beyond", replace(good, part=4, parts=4).encode(), "part"),
        ("more parts", replace(good, parts=65535).encode(), "part"),
        ("no parts", whole[:34] + b"\0\0" + whole[36:], "part"),
        ("no extension", with_extensions(whole, b""), "extension"),
        ("padding alone", with_extensions(whole, bytes(400)), "extension"),
        ("tag without length", with_extensions(whole, b"\1"), "extension"),
        ("endless tag", with_extensions(whole, b"\1\xffdoor"), "extension"),
        ("endless unknown tag", with_extensions(whole, b"\x07\xff" + bytes(9)), "extension"),
        ("empty tags", with_extensions(whole, b"\x07\0" * 2000), "extension"),
        ("a header too long", with_extensions(whole, bytes(MAX_HEADER_BYTES)), "length"),
        ("empty camera", with_extensions(whole, tag(b"")), "camera"),
        ("camera not UTF-8", with_extensions(whole, tag(b"\xff\xfe")), "camera"),
        ("overlong camera", with_extensions(whole, tag(b"\xc0\xaf")), "camera"),
        ("half a camera", with_extensions(whole, tag(b"\xed\xa0\x80")), "camera"),
        ("camera of levels", with_extensions(whole, tag(b"a/b")), "camera"),
        ("camera of all", with_extensions(whole, tag(b"#")), "camera"),
        ("camera of any", with_extensions(whole, tag(b"+")), "camera"),
    ):
        yield Rubbish(name, payload, reason)
    for name, text in TEXTS.items():
        camera = text.encode()[:255]
        yield Rubbish(f"camera {name}", with_extensions(whole, tag(camera)), "camera")


def json_rubbish(good: Label | NodeStatus | AggregatorStatus) -> Iterator[Rubbish]:
    """What a reader of labels or statuses may find."""
    whole = good.encode()
    for cut in CUTS[1:]:  # an empty one is a deletion, which nobody refuses
        yield Rubbish(f"cut at {cut}", whole[: int(cut * len(whole))], "json")
    for name, payload in {
        "null": b"null",
        "number": b"1e999",
        "list": b"[" * 60_000,
        "objects": b'{"a":' * 12_000,
        "known field of lists": b'{"parts":' + b"[" * 60_000,
        "closed lists": b'{"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        "not UTF-8": b'{"state":"\xff"}',
        "half a letter": b'{"state":"\\ud800"}',
        "binary": bytes(range(256)),
        "two": whole + whole,
        "byte order mark": b"\xef\xbb\xbf" + whole,
        "UTF-16": whole.decode().encode("utf-16"),
    }.items():
        yield Rubbish(name, payload, "json")
    for name, number in {
        "text": b'"4"',
        "not a number": b"NaN",
        "infinity": b"1e400",
        "half": b"4.5",
        "19 digits": b"9" * 19,
        "30 digits": b"9" * 30,
        "5000 digits": b"9" * 5000,
        "null": b"null",
    }.items():
        yield Rubbish(f"parts {name}", re.sub(rb'"parts":\d+', b'"parts":' + number, whole), "json")
    yield Rubbish("too long", whole + b" " * MAX_JSON_BYTES, "too_large")
    for name, text in TEXTS.items():
        replaced = msgspec.structs.replace(good, **{_text_of(good): text})
        yield Rubbish(f"text {name}", replaced.encode(), "text")


def _text_of(message: Label | NodeStatus | AggregatorStatus) -> str:
    return "label" if isinstance(message, Label) else "version"


def statuses(bundle: Bundle) -> Iterator[Rubbish]:
    """What an aggregator may find on the nodes' topics."""
    good = msgspec.structs.replace(
        NODE_STATUS, node="ghost", part=0, fingerprint=bundle.manifest.fingerprint
    )
    yield from json_rubbish(good)
    for fingerprint in ("00" * 8, "x" * 900):  # an empty one says that the node waits for a part
        other = msgspec.structs.replace(good, fingerprint=fingerprint)
        yield Rubbish(f"bundle {fingerprint[:9]}", other.encode(), "other_bundle")
    yield Rubbish("state", good.encode().replace(b'"online"', b'"asleep"'), "json")


LABELS = tuple(json_rubbish(LABEL))
AGGREGATOR_STATUSES = tuple(json_rubbish(AGGREGATOR_STATUS))
