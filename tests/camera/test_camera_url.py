"""No password of a camera's URL is shown, wherever it stands in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devit_iot.camera.camera_url import scrubbed, shown_source, without_password
from devit_iot.camera.open_source import open_source
from devit_iot.errors import DataError

SECRET = "s3cr3t"  # noqa: S105 - nobody's


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://u:s3cr3t@h:554/s?channel=1&subtype=0", "rtsp://h:554/s?channel=1&subtype=0"),
        ("http://h/snap.jpg", "http://h/snap.jpg"),
        ("http://[fe80::1%eth0]:80/x", "http://[fe80::1%eth0]:80/x"),
        ("HTTPS://u:s3cr3t@h", "HTTPS://h"),
        ("http://h/ok?usr=admin&pwd=s3cr3t", "http://h/ok?usr=***&pwd=***"),
        ("http://h/ok?user=admin;password=s3cr3t;ch=2", "http://h/ok?user=***;password=***;ch=2"),
        ("http://h/api?cmd=Snap&token=s3cr3t", "http://h/api?cmd=Snap&token=***"),
        ("http://h/api?cmd=Snap&channel=s3cr3t=1", "http://h/api?cmd=Snap&channel=***"),
        ("http://h/x?s3cr3t", "http://h/x?***"),
        ("http://h/x?s3cr3t=", "http://h/x?s3cr3t=***"),
        ("http://h/x?a=s3cr3t?b=s3cr3t", "http://h/x?a=***"),
        ("http://h/x#s3cr3t", "http://h/x"),
        ("rtsp://h/user=a_password=s3cr3t_channel=1.sdp", "rtsp://h/user=***"),
        (
            "rtsp://h/user=a&password=s3cr3t&channel=1/x",
            "rtsp://h/user=***&password=***&channel=1/x",
        ),
        ("rtsps://h:7441/aBcs3cr3t1234567890", "rtsps://h:7441/***"),
        ("rtsp://u:p@s3cr3t@h/x", "rtsp://h/x"),
        ("rtsp://u:p#s3cr3t@h/x", "rtsp://***"),
        ("rtsp://u:p@#s3cr3t@h/x", "rtsp://***"),
        ("rtsp://u:p/s3cr3t@h/x", "rtsp://***"),
        ("rtsp://u:p?s3cr3t@h/x", "rtsp://***"),
        ("rtsp://u:s3cr3t/@h/x", "rtsp://***"),
        ("rtsp://u:s3cr3t", "rtsp://***"),
        ("rtsp://u:12/s3cr3t@h/x", "rtsp://***"),
        ("rtsp://u:[s3cr3t]@h/x", "rtsp://h/x"),
        ("rtsp://[s3cr3t/x", "rtsp://***"),
        ("http://h/x?u=a@b&p=s3cr3t", "http://***"),
    ],
)
def test_what_is_shown_of_a_url(url: str, shown: str) -> None:
    assert without_password(url) == shown


URL_SIGNS = st.text("abc/?#@:[]=&;%. \\", max_size=8)


@given(URL_SIGNS, URL_SIGNS, st.sampled_from(["h", "h:80", "h/x", "h/x?a=b", "h/x@2"]))
def test_no_password_is_shown_whatever_it_holds(before: str, after: str, rest: str) -> None:
    for url in (
        f"rtsp://user:{before}{SECRET}{after}@{rest}",
        f"http://h/x?user=admin&password={SECRET}",
        f"http://h/{before.translate(str.maketrans('', '', '=&;?#'))}=1?pwd={SECRET}",
    ):
        assert SECRET not in without_password(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://u:p/s3cr3t@127.0.0.1:9/x",
        "http://u:s3cr3t/@127.0.0.1:9/x",
        "http://u:[s3cr3t]@127.0.0.1:9/x",
        "http://u:s3cr3t\u2100@127.0.0.1:9/x",
        "http://u:s3cr3t#x@127.0.0.1:9/x",
        "http://u:1?s3cr3t@127.0.0.1:9/x",
        "http://u:@s3cr3t@127.0.0.1:9/x",
        "http://127.0.0.1:9/x?password=s3cr3t",
        "http:/u:s3cr3t@127.0.0.1/x",
        "u:s3cr3t@127.0.0.1/x",
    ],
)
def test_no_error_shows_it(url: str) -> None:
    with pytest.raises(DataError) as caught:
        open_source(url)
    assert SECRET not in str(caught.value)


def test_an_unescaped_sign_is_explained() -> None:
    with pytest.raises(DataError, match=r"rtsp|http.*write %23 for #"):
        open_source("http://u:p/s3cr3t@127.0.0.1:9/x")


def test_urls_in_other_texts() -> None:
    text = "Redirection to url 'ftp://u:s3cr3t@h/?sid=s3cr3t' is not allowed"
    assert scrubbed(text) == "Redirection to url 'ftp://h/?sid=***' is not allowed"
    assert shown_source("photos/front@door.jpg") == "photos/front@door.jpg"
