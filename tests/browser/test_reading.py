"""The page reads messages, topics and images as the Python side does: one protocol, two readers."""

import base64
import itertools
import json
import random
import unicodedata
from collections.abc import Callable, Iterator
from functools import partial

import msgspec
import pytest
from playwright.sync_api import Browser, Page

from devit_iot.config.config import NodeConfig
from devit_iot.dashboard.server import PageFacts
from devit_iot.errors import InputError
from devit_iot.protocol.image_message import unwrap_image
from devit_iot.protocol.label import Label
from devit_iot.protocol.request import request_id
from devit_iot.protocol.status import AggregatorStatus, NodeStatus
from devit_iot.protocol.text import is_camera, is_plain
from devit_iot.protocol.topics import DEFAULT_IMAGE_FILTERS, ImageFilter, Topics
from tests.browser.conftest import served
from tests.golden.make import AGGREGATOR_STATUS, GOLDEN, LABEL, NODE_STATUS
from tests.support.fleets import huge_jpeg, image_file

KINDS: dict[str, type[Label] | type[NodeStatus] | type[AggregatorStatus]] = {
    "label": Label,
    "node": NodeStatus,
    "aggregator": AggregatorStatus,
}
GOLDENS = [
    (kind, path.read_bytes()) for kind in KINDS for path in sorted(GOLDEN.glob(f"{kind}*.json"))
]
REFUSED = "refused"


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """Somewhere that the page's modules can be imported; it need not find a broker."""
    with served(PageFacts(Topics("test"), DEFAULT_IMAGE_FILTERS, "ws://127.0.0.1:9/mqtt")) as url:
        page = browser.new_page()
        page.goto(f"{url}icon.svg")
        yield page
        page.close()


def outcome(read: Callable[[], object]) -> object:
    try:
        return read()
    except InputError as error:
        return [REFUSED, error.reason]


# Runs `read(item)` for each item; a refusal becomes ["refused", reason].
EACH = """
const outcomes = (items, read) => items.map((item) => {
  try { return read(item); } catch (error) {
    if (error.reason === undefined) throw error;
    return ["refused", error.reason];
  }
});
const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
const text = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
const limits = (await (await fetch("/fleet.json")).json()).limits;
"""


def run(page: Page, body: str, items: list[object]) -> list[object]:
    found: list[object] = page.evaluate(f"async (items) => {{ {EACH} {body} }}", items)
    return found


def packed(payload: bytes) -> str:
    return base64.b64encode(payload).decode()


def test_the_golden_messages_are_read(page: Page) -> None:
    assert {kind for kind, _ in GOLDENS} == set(KINDS)
    found = run(
        page,
        """
        const { Reader } = await import("/app/messages.js");
        const reader = new Reader(limits);
        return outcomes(items, ([kind, payload]) => reader[kind](bytes(payload)));
        """,
        [[kind, packed(payload)] for kind, payload in GOLDENS],
    )
    for (kind, payload), read in zip(GOLDENS, found, strict=True):
        ours = msgspec.to_builtins(KINDS[kind].decode(payload))
        assert isinstance(read, dict)
        names = {
            "label": {"label": "label", "partsUsed": "parts_used", "degraded": "degraded",
                      "confidence": "confidence", "requestId": "request_id", "camera": "camera"},
            "node": {"name": "node", "part": "part", "engine": "engine", "dropped": "dropped",
                     "computeMs": "compute_ms", "temperature": "temperature_c",
                     "throttled": "throttled", "problem": "problem", "uptime": "uptime_s"},
            "aggregator": {"partsOnline": "parts_online", "labels": "labels",
                           "deadline": "deadline_s", "shard": "shard", "late": "late"},
        }[kind]  # fmt: skip
        for theirs, name in names.items():
            assert read[theirs] == (list(v) if isinstance(v := ours[name], tuple) else v), name


def spoilt() -> Iterator[tuple[str, bytes]]:
    """Golden messages with one field missing, or of another type, or with another text."""
    whole = {"label": LABEL, "node": NODE_STATUS, "aggregator": AGGREGATOR_STATUS}
    values = [
        None,
        "x",
        "\u202e",
        "a\tb",
        "x" * 1001,
        -1,
        1.5,
        [],
        {},
        [1],
        ["x"],
        {"x": "y"},
        True,
    ]
    for kind, message in whole.items():
        fields = msgspec.to_builtins(message)
        for name in fields:
            for value in (..., *values):
                changed = {key: value if key == name else old for key, old in fields.items()}
                if value is ...:
                    changed.pop(name)
                yield kind, json.dumps(changed).encode()


def test_the_page_shows_nothing_that_python_refuses(page: Page) -> None:
    """The page may refuse more: it also checks ranges."""
    items = list(spoilt())
    found = run(
        page,
        """
        const { Reader } = await import("/app/messages.js");
        const reader = new Reader(limits);
        return outcomes(items, ([kind, payload]) => (reader[kind](bytes(payload)), "read"));
        """,
        [[kind, packed(payload)] for kind, payload in items],
    )
    read_fields = 0
    for (kind, payload), theirs in zip(items, found, strict=True):
        ours = outcome(partial(KINDS[kind].decode, payload))
        if theirs == "read" and isinstance(ours, list):
            # The page knows no type of fields that it does not read, and shows nothing of them.
            before = json.loads(
                msgspec.json.encode(
                    {"label": LABEL, "node": NODE_STATUS}.get(kind, AGGREGATOR_STATUS)
                )
            )
            after = json.loads(payload)
            (changed,) = {k for k in before if repr(before[k]) != repr(after.get(k, ...))}
            assert changed in UNREAD[kind], payload
        read_fields += theirs == "read"
    assert 0 < read_fields < len(items) / 2


UNREAD = {
    "label": {"class_index", "head", "head_version", "fingerprint", "early"},
    "node": {
        "unsent", "unfinished", "redelivered", "deferred", "parts", "parts_fingerprint", "board",
        "crops", "spared", "cpu_s", "shares", "pinned", "repeated",
    },
    "aggregator": {"unsent", "features", "duplicate", "unfinished", "parts", "early", "cpu_s"},
}  # fmt: skip


def test_texts_are_plain_as_in_python(page: Page) -> None:
    texts = [chr(code) for code in range(0x3000)] + [chr(c) for c in range(0xFE00, 0x10000)]
    # what a newer Unicode than Python's assigns is printable to the browser only
    texts = [text for text in texts if unicodedata.category(text) not in {"Cn", "Cs"}]
    texts += ["x" * 1000, "x" * 1001, "\U0001f600" * 1000, "\U0001f600" * 1001, ""]
    texts += ["é" * 64, "é" * 65, "猫" * 64, "\U0001f600" * 63, "\U0001f600" * 64]
    body = """
    const { isPlain, isCamera } = await import("/app/text.js");
    return items.map((item) => [isPlain(item, limits.text), isCamera(item, limits)]);
    """
    found = run(page, body, list(texts))
    expected = [[is_plain(text), is_camera(text)] for text in texts]
    different = [f"{t!r}" for t, a, b in zip(texts, found, expected, strict=True) if a != b]
    assert different == []


def topics() -> list[tuple[str, str]]:
    rng = random.Random(1)
    levels = ["cameras", "door", "image", "{camera}", "{request}", "+", "#", "0" * 32, "x" * 70, ""]
    patterns = [*DEFAULT_IMAGE_FILTERS, "#", "in/#", "+/{camera}/{camera}", "a/b", "{camera}/#"]
    found = []
    for pattern, _ in itertools.product(patterns, range(60)):
        parts = [
            rng.choice(["door", "0" * 32, "x" * 70, "\u202e", "猫", ""])
            if level in {"+", "#", "{camera}", "{request}"}
            else level
            for level in pattern.split("/")
        ]
        if rng.random() < 0.3:
            parts[rng.randrange(len(parts))] = rng.choice(levels)
        if rng.random() < 0.3:
            parts.append(rng.choice(levels))
        found.append((pattern, "/".join(parts)))
    return found


def test_image_topics_are_read_as_in_python(page: Page) -> None:
    body = """
    const { ImageFilter } = await import("/app/topics.js");
    return outcomes(items, ([pattern, filter, topic]) => {
      const route = new ImageFilter({ pattern, filter }).match(topic, limits);
      return route && [route.camera, route.requestId];
    });
    """
    items = topics()

    def ours(pattern: str, topic: str) -> object:
        route = ImageFilter(pattern).match(topic)
        return route and [route.camera, route.request_id and route.request_id.hex()]

    found = run(page, body, [[p, ImageFilter(p).mqtt, t] for p, t in items])
    expected = [outcome(partial(ours, p, t)) for p, t in items]
    assert found == expected
    assert sum(isinstance(item, list) and item[0] != REFUSED for item in expected) > 100
    assert sum(item is None for item in expected) > 50


JPEG = image_file(0, kind="JPEG")
PAYLOADS = [
    JPEG,
    b"",
    b"\n ",
    base64.b64encode(JPEG),
    b" \r\n" + base64.encodebytes(JPEG),
    base64.urlsafe_b64encode(JPEG),
    b"data:image/jpeg;base64," + base64.b64encode(JPEG),
    b"data:image/jpeg;base64",
    base64.b64encode(JPEG)[:-1],
    base64.b64encode(JPEG) + b"!",
    b"AAAA=AAA",
    b"{",
    b"{}",
    b"\n {}",
    json.dumps({"image": packed(JPEG)}).encode(),
    json.dumps({"image": 1, "data": packed(JPEG)}).encode(),
    json.dumps({"imagebase64": "data:;base64," + packed(JPEG), "data": "x"}).encode(),
    json.dumps({"image": "\u00e9"}).encode(),
    json.dumps({"image": ["x"]}).encode(),
    b'{"image": "' + b"\xff" + b'"}',
    b"[]",
    bytes(range(256)),
    base64.b64encode(JPEG).rstrip(b"="),
    base64.urlsafe_b64encode(JPEG).rstrip(b"=") + b"\0rest",
    b"\xef\xbb\xbf" + base64.b64encode(JPEG),
    b"b'" + base64.b64encode(JPEG) + b"'",
    b'"' + base64.b64encode(JPEG).replace(b"/", b"\\/") + b'\\n"\r\n',
    b"DATA:image/jpeg;BASE64," + base64.b64encode(JPEG),
    b"image/jpeg;base64," + base64.b64encode(JPEG).replace(b"+", b"%2b").replace(b"/", b"%2F"),
    packed(JPEG).encode("utf-16"),
    json.dumps({"image": packed(JPEG)}).encode("utf-16"),
    b"\xfe\xff" + json.dumps({"data": packed(JPEG)}).encode("utf-16-be"),
    b"\xff\xfe\x00\xd8\x00\xd8",
    b'\xef\xbb\xbf{"score": NaN, "box": [-inf, INF], "image": "' + packed(JPEG).encode() + b'"}\0',
    b'{"image": "\n' + base64.encodebytes(JPEG) + b'"}',
    b'{"score": nanometre, "image": "' + packed(JPEG).encode() + b'"}',
    b'{"x": [' + b"NaN," * 1001 + b'0], "image": "' + packed(JPEG).encode() + b'"}',
    json.dumps({"image": "front.jpg", "data": packed(JPEG)}).encode(),
    json.dumps({"image": "", "imagebase64": "door", "data": packed(JPEG)}).encode(),
    json.dumps({"image": "", "imagebase64": "door", "data": ""}).encode(),
    json.dumps({"image": ""}).encode(),
    b"====",
    b"door",
    b"doors",
    b"A" * 70 + b"*",
    b"heic\0\0" + bytes(70),
]  # fmt: skip


def unwrapped(payload: bytes) -> str:
    return packed(unwrap_image(payload))


def test_images_are_unwrapped_as_in_python(page: Page) -> None:
    body = """
    const { unwrap } = await import("/app/picture.js");
    return outcomes(items, (payload) => text(unwrap(bytes(payload))));
    """
    expected = [outcome(partial(unwrapped, payload)) for payload in PAYLOADS]
    assert run(page, body, [packed(payload) for payload in PAYLOADS]) == expected


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_sizes_are_those_of_the_header(page: Page, kind: str) -> None:
    sizes = [(1, 1), (20, 16), (257, 3), (3, 1030)]
    body = """
    const { readPicture } = await import("/app/picture.js");
    return outcomes(items, (payload) => {
      const { width, height, type } = readPicture(bytes(payload), limits.pixels);
      return [width, height, type];
    });
    """
    files = [packed(image_file(0, kind=kind, size=size)) for size in sizes]
    assert run(page, body, [*files, packed(huge_jpeg())]) == [
        *([width, height, f"image/{kind.lower()}"] for width, height in sizes),
        [REFUSED, "too_large"],
    ]
    assert NodeConfig().max_pixels < 20000 * 20000


def test_a_picture_is_found_by_its_request_id(page: Page) -> None:
    payloads = [b"jpeg bytes", b"", bytes(range(256)) * 40]
    body = """
    const { Pictures } = await import("/app/pictures.js");
    return items.map(([topic, payload, id]) => {
      const pictures = new Pictures();
      pictures.add(topic, bytes(payload), null, 0, false);
      pictures.add(topic, bytes("AAAA"), null, 0, false);
      return pictures.find(id, 0)?.payload.length ?? null;
    });
    """
    asked = [
        ["cameras/dóor/image", packed(payload), request_id("cameras/dóor/image", payload).hex()]
        for payload in payloads
    ]
    assert run(page, body, list(asked)) == [len(payload) for payload in payloads]
