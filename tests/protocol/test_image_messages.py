"""Image messages: their request id, and the three forms that cameras send."""

import base64
import hashlib
import time
import tracemalloc
from collections.abc import Callable
from urllib.parse import quote_from_bytes

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devit_iot.errors import ImageError
from devit_iot.protocol.image_message import unwrap_image
from devit_iot.protocol.request import preference, request_id
from tests.support.fleets import reason_of


def test_request_id_is_the_documented_hash() -> None:
    # printf 'cameras/door/image\0jpeg bytes' | b2sum -l 128
    wanted = "ab6fcc4a4429b8356cbc540477298786"
    assert request_id("cameras/door/image", b"jpeg bytes").hex() == wanted


def test_request_id_depends_on_topic_and_payload() -> None:
    calls = [("a", b"bc"), ("ab", b"c"), ("a", b"b"), ("a", b""), ("b", b"bc"), ("é", b"bc")]
    assert len({request_id(topic, payload) for topic, payload in calls}) == len(calls)
    assert request_id("a", b"bc") == request_id("a", bytes(bytearray(b"bc")))


JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256))
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
WEBP = b"RIFF\x24\x01\x00\x00WEBPVP8 " + bytes(range(256))


@pytest.mark.parametrize("image", [JPEG, PNG, WEBP])
class TestUnwrap:
    def test_raw(self, image: bytes) -> None:
        assert unwrap_image(image) == image

    def test_base64(self, image: bytes) -> None:
        text = base64.b64encode(image)
        assert unwrap_image(text) == image
        assert unwrap_image(b" \n" + text + b"\r\n") == image

    def test_base64_in_lines(self, image: bytes) -> None:
        assert unwrap_image(base64.encodebytes(image)) == image
        assert unwrap_image(base64.encodebytes(image).replace(b"\n", b"\r\n")) == image

    def test_base64_url_safe(self, image: bytes) -> None:
        text = base64.urlsafe_b64encode(image)
        assert b"-" in text or b"_" in text
        assert unwrap_image(text) == image

    @pytest.mark.parametrize("before", [b"", b"\n "])
    def test_data_url(self, image: bytes, before: bytes) -> None:
        url = before + b"data:image/jpeg;base64," + base64.b64encode(image)
        assert unwrap_image(url) == image

    @pytest.mark.parametrize("key", ["image", "imagebase64", "data"])
    def test_json(self, image: bytes, key: str) -> None:
        text = base64.b64encode(image).decode()
        for value in (text, f"data:image/png;base64,{text}"):
            payload = msgspec.json.encode({"camera": "door", key: value, "n": [1, {"x": None}]})
            assert unwrap_image(payload) == image
            assert unwrap_image(b"\n " + payload) == image


# Base64 ends these JPEG files with one "=", with two, and with none.
LENGTHS = [JPEG, JPEG + b"1", JPEG + b"12"]
MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize("image", LENGTHS, ids=range(3))
@pytest.mark.parametrize(
    "written",
    [
        lambda text: text.rstrip(b"="),
        lambda text: text.translate(bytes.maketrans(b"+/", b"-_")).rstrip(b"="),
        lambda text: text + b"==",
        lambda text: text + b"\0",
        lambda text: text + b"\0\0\0",
        lambda text: text + b"\r\n\0the rest of a buffer\xff",
        lambda text: MARK + text,
        lambda text: MARK + b" \n" + text + b"\n",
        lambda text: b'"' + text + b'"',
        lambda text: b" '" + text + b"'\n",
        lambda text: b"b'" + text + b"'",
        lambda text: b'b"' + text + b'"\0',
        lambda text: b'"' + text.replace(b"/", b"\\/") + b'"',  # as PHP writes it
        lambda text: b"\\n".join(text[at : at + 76] for at in range(0, len(text), 76)),
        lambda text: b"\r\n ".join(text[at : at + 64] for at in range(0, len(text), 64)),
        lambda text: b"DATA:image/jpeg;base64," + text,
        lambda text: b"Data:Image/JPEG;Base64, " + text.rstrip(b"="),
        lambda text: b'"data:image/jpeg;base64,' + text + b'"',
        lambda text: b"image/jpeg;base64," + text,
        lambda text: b"data:image/jpeg;base64," + quote_from_bytes(text, "").encode(),
        lambda text: b"data:;base64," + text.replace(b"/", b"%2f").replace(b"+", b"%2b"),
        lambda text: text.decode().encode("utf-16"),
        lambda text: b"\xfe\xff" + text.decode().encode("utf-16-be"),
    ],
)
def test_what_senders_put_around_base64_is_taken_away(
    written: Callable[[bytes], bytes], image: bytes
) -> None:
    payload = written(base64.b64encode(image))
    assert unwrap_image(payload) == image
    if not payload.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = payload.partition(b"\0")[0].decode("utf-8-sig")
        assert unwrap_image(msgspec.json.encode({"image": text})) == image


@pytest.mark.parametrize(
    "written",
    [
        '{"score": NaN, "image": "%s"}',
        '{"image": "%s", "score":-Infinity}',
        '{"box": [nan, -nan , +inf,Inf], "image": "%s", "t": {"a":NaN}}',
        '\ufeff{"image": "%s"}',
        '{"image": "%s"}\0',
        '{"image": "%s"}\n\0{"image": "of an earlier one',
        '{"image": "cam1.20261127_101010.jpg", "data": "%s"}',
        '{"data": "%s", "image": "door"}',
        '{"image": "", "data": "%s"}',
        '{"image": null, "imagebase64": "http://camera/1.jpg", "data": "%s"}',
        '{"image": "AAAA", "data": "data:image/jpeg;base64,%s"}',
        '{"image": "\n%s\r\n"}',
        '{"a\tb": "\r\n", "score": NaN, "image": "\n%s\r\n"}',
    ],
)
def test_json_as_scripts_and_microcontrollers_write_it(written: str) -> None:
    text = base64.b64encode(JPEG).decode()
    assert unwrap_image((written % text).encode()) == JPEG


def test_json_in_utf_16() -> None:
    text = base64.b64encode(JPEG).decode()
    assert unwrap_image(f'{{"image": "{text}"}}'.encode("utf-16")) == JPEG


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"A" * 70 + b"*", r"payload looks like base64 text and is none: b'\*' stands behind 70 "),
        (b"AA==AAAA", r"looks like base64 text and is none: b'=' stands behind 2 "),
        (b"AAAAA", r"looks like base64 text and is none: 5 characters"),
        (b"AAAAAAAA", r"looks like base64 text; its 6 bytes are no JPEG, PNG or WebP image"),
        (b'{"image": "a.jpg"}', r"field 'image' of the image JSON looks like .* b'\.' stands"),
        (b'{"image": "", "data": "?"}', r"field 'data' of the image JSON looks like base64 text"),
        (b'{"image": ""}', r"field 'image' of the image JSON holds no image"),
    ],
)
def test_a_refusal_says_that_it_looked_like_text(payload: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        unwrap_image(payload)


@pytest.mark.parametrize(
    "payload",
    [
        b"{" + b":" + b" " * 16_000_000,
        b"{" + b",nan" * 4_000_000,
        b'{"a": [' + b"NaN, " * 3_000_000 + b'0], "image": "AAAA"}',
        b'{"a": "' + b"\n" * 16_000_000,
        b"data:," + b"%2b" * 5_000_000,
        b"data:," + b"%" * 16_000_000,
        b'"' + b"\\n" * 8_000_000,
        b"=" * 16_000_000 + b"A",
        b"\0" * 16_000_000,
        b"\xff\xfe" + b"\x00\xd8" * 8_000_000,
        b"\xff\xfe" + b"A\x01" * 8_000_000,
        MARK * 5_000_000,
    ],
    ids=range(12),
)
def test_a_text_of_sixteen_megabytes_is_seen_through_at_once(payload: bytes) -> None:
    begin = time.thread_time()
    assert reason_of(unwrap_image, payload) in {None, "empty", "json", "base64", "unknown_codec"}
    assert time.thread_time() - begin < 2


def test_json_keys_that_hold_no_text_are_passed_over() -> None:
    text = base64.b64encode(JPEG).decode()
    assert unwrap_image(msgspec.json.encode({"image": {"w": 3}, "data": text})) == JPEG


def test_the_first_of_the_three_keys_that_holds_a_picture_counts() -> None:
    """Whatever their order in the message."""
    pictures = {key: JPEG + key.encode() for key in ("data", "imagebase64", "image")}
    texts = {key: base64.b64encode(picture).decode() for key, picture in pictures.items()}
    assert unwrap_image(msgspec.json.encode(texts)) == pictures["image"]
    nothings: tuple[object, ...] = (None, 1, [], "porch.jpg")
    for nothing in nothings:
        changed = texts | {"image": nothing}
        assert unwrap_image(msgspec.json.encode(changed)) == pictures["imagebase64"]
        changed |= {"imagebase64": nothing}
        assert unwrap_image(msgspec.json.encode(changed)) == pictures["data"]


def test_the_form_is_told_by_the_first_64_bytes() -> None:
    picture = base64.b64encode(JPEG)
    assert unwrap_image(b" " * 63 + b'{"data": "' + picture + b'"}') == JPEG
    assert unwrap_image(b"\n" * 59 + b"data:image/png;base64," + picture) == JPEG
    almost = b"A" * 63 + b"\xff"
    assert unwrap_image(almost) == almost  # a file, though most of it looks like text
    with pytest.raises(ImageError) as caught:
        unwrap_image(b"A" * 64 + b"\xff")
    assert caught.value.reason == "base64"


@pytest.mark.parametrize(
    ("reason", "payload"),
    [
        ("empty", b""),
        ("json", b"{"),
        ("json", b"{}"),
        ("json", b'{"image": 3}'),
        ("json", b'{"picture": "AAAA"}'),
        ("json", b'{"image": "\xff"}'),
        ("json", b'{"a":' * 100_000),
        ("json", b'{"a":' + b"[" * 100_000),
        ("json", b'{"image": "\\ud800"}'),
        ("json", b'{"image": "AAAA", }'),
        ("json", b'{"score": NaN, "image": 3}'),
        ("json", b'{"score": nanometre, "image": "AAAA"}'),
        ("json", b'{"score": NaN, "image": "AA'),
        ("base64", b'{"image": "a"}'),
        ("base64", b'{"image": "AA\xc3\xa9A"}'),
        ("base64", b"A"),
        ("base64", b"AAAA" * 20 + b"\xff\xff"),
        ("base64", b"data:image/png;base64,A*AA"),
        ("base64", b"AA=A"),
        ("base64", b"AAAAA="),
        ("base64", b"'AAAAA'"),
        ("base64", b"\xef\xbb\xbfAAAAA"),
        ("base64", b'"' + b"A" * 80 + b'" and more'),
        ("base64", b"data:,AAAA%2AAA"),
        ("empty", b" \r\n"),
        ("empty", b"===="),
        ("empty", b"''"),
        ("empty", b"data:image/png;base64,"),
        ("empty", b'{"image": "", "data": ""}'),
        ("unknown_codec", b"AAAA"),
        ("unknown_codec", b"door"),
        ("unknown_codec", base64.b64encode(b"GIF89a" + bytes(99))),
        ("unknown_codec", b'{"image": "", "data": "AAAA"}'),
    ],
    ids=range(33),
)
def test_bad_image_messages_are_refused(reason: str, payload: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        unwrap_image(payload)
    assert caught.value.reason == reason


def test_json_makes_no_objects_of_what_is_no_image() -> None:
    """Sixteen megabytes of empty lists would be four hundred of objects."""
    text = base64.b64encode(JPEG)
    payload = b'{"other": [' + b"[]," * 5_000_000 + b'{"a":{}}], "data": "' + text + b'"}'
    tracemalloc.start()
    try:
        assert unwrap_image(payload) == JPEG
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=150),
        st.binary(max_size=100).map(b"{".__add__),
        st.binary(max_size=100).map(b"data:".__add__),
        st.text("ABab01+/=-_ \n", max_size=100).map(str.encode),
        st.text("{}\"':,naimgebtdNI\\u0 \n\ufeff", max_size=100).map(str.encode),
    )
)
def test_garbage_never_breaks_unwrap(payload: bytes) -> None:
    assert reason_of(unwrap_image, payload) in {None, "empty", "json", "base64", "unknown_codec"}


def test_the_preference_is_the_documented_number() -> None:
    digest = hashlib.blake2b(bytes(range(16)), digest_size=8).digest()
    assert preference(bytes(range(16))) == sum(byte << (8 * i) for i, byte in enumerate(digest))
