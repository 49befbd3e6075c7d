"""Image messages: their request id, and the three forms that cameras send."""

import base64
import hashlib
import tracemalloc

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devit_iot.errors import ImageError
from devit_iot.image_message import unwrap_image
from devit_iot.messages import preference, request_id
from tests.fleets import reason_of


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


def test_json_keys_that_hold_no_text_are_passed_over() -> None:
    text = base64.b64encode(JPEG).decode()
    assert unwrap_image(msgspec.json.encode({"image": {"w": 3}, "data": text})) == JPEG


def test_the_first_of_the_three_keys_that_holds_a_text_counts() -> None:
    """Whatever their order in the message."""
    texts = {
        key: base64.b64encode(key.encode()).decode() for key in ("data", "imagebase64", "image")
    }
    assert unwrap_image(msgspec.json.encode(texts)) == b"image"
    assert unwrap_image(msgspec.json.encode(texts | {"image": None})) == b"imagebase64"
    assert unwrap_image(msgspec.json.encode(texts | {"image": 1, "imagebase64": []})) == b"data"


def test_the_form_is_told_by_the_first_64_bytes() -> None:
    assert unwrap_image(b" " * 63 + b'{"data": "AAAA"}') == bytes(3)
    assert unwrap_image(b"\n" * 59 + b"data:image/png;base64,AAAA") == bytes(3)
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
        ("base64", b'{"image": "a"}'),
        ("base64", b'{"image": "AA\xc3\xa9A"}'),
        ("base64", b"A"),
        ("base64", b"AAAA" * 20 + b"\xff\xff"),
        ("base64", b"data:image/png;base64,A*AA"),
        ("base64", b"AA=A"),
    ],
    ids=range(14),
)
def test_bad_image_messages_are_refused(reason: str, payload: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        unwrap_image(payload)
    assert caught.value.reason == reason


def test_json_makes_no_objects_of_what_is_no_image() -> None:
    """Sixteen megabytes of empty lists would be four hundred of objects."""
    payload = b'{"other": [' + b"[]," * 5_000_000 + b'{"a":{}}], "data": "AAAA"}'
    tracemalloc.start()
    try:
        assert unwrap_image(payload) == bytes(3)
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
    )
)
def test_garbage_never_breaks_unwrap(payload: bytes) -> None:
    assert reason_of(unwrap_image, payload) in {None, "empty", "json", "base64"}


def test_the_preference_is_the_documented_number() -> None:
    digest = hashlib.blake2b(bytes(range(16)), digest_size=8).digest()
    assert preference(bytes(range(16))) == sum(byte << (8 * i) for i, byte in enumerate(digest))
