"""Still images over HTTP as cameras serve them: broken, untyped, in parts, self-signed."""

import gc
import logging
import socket
import ssl
import threading
from pathlib import Path

import pytest

from devit_iot.camera import source as source_module
from devit_iot.camera import still, video
from devit_iot.camera.open_source import open_source
from devit_iot.camera.source import Form
from devit_iot.camera.still import Stills, is_still
from devit_iot.errors import DataError
from devit_iot.fleet.authority import new_authority, new_server
from tests.support.fleets import image_file
from tests.support.raw_server import RawServer

JPEG = image_file(1, kind="JPEG", size=(160, 120))
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "MIN_PAUSE_S", 0.01)
    monkeypatch.setattr(still, "TIMEOUT_S", 2.0)


def typed(kind: str, body: bytes) -> bytes:
    """An answer that ends with its connection; an empty ``kind`` is none."""
    head = f"Content-Type: {kind}\r\n".encode() if kind else b""
    return OK + head + b"\r\n" + body


GOOD = typed("image/jpeg", JPEG)
CHUNKED = OK + b"Content-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n\r\n"
BROKEN = {
    "nothing": b"",
    "status": b"HTTP/1.1 2OO OK\r\n\r\n",
    "garbage": b"\0\1garbage\r\n",
    "chunk cut": CHUNKED + b"2000\r\n" + JPEG[:100],
    "no chunk": CHUNKED,
    "chunk of letters": CHUNKED + b"xyz\r\n" + JPEG,
    "endless chunk size": CHUNKED + b"0" * 70_000,
    "long status": b"HTTP/1.1 200 " + b"O" * 70_000 + b"\r\n\r\n",
    "long header": OK + b"X: " + b"y" * 70_000 + b"\r\n\r\n" + JPEG,
    "many headers": OK + b"X: y\r\n" * 200 + b"\r\n" + JPEG,
    "other protocol": b"RTSP/1.0 200 OK\r\n\r\n",
    "version": b"HTTP/3.7 200 OK\r\n\r\n",
    "busy": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    "bad redirect": b"HTTP/1.1 302 Found\r\nLocation: http://[bad/\r\n\r\n",
    "redirect to a file": b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",
    "digest of nothing": b"HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm=\r\n\r\n",
    "digest without a comma": b"HTTP/1.1 401 No\r\nWWW-Authenticate: Digest a\r\n\r\n",
    "no picture": typed("text/html", b"<html>busy</html>"),
    "empty": typed("image/jpeg", b""),
}


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_answer_costs_one_picture(broken: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with RawServer(lambda _, number: broken if number == 2 else GOOD) as server:
        images = open_source(server.url.replace("//", "//me:s3cret@") + "/now.jpg")
        found = [next(images).payload for _ in range(3)]
    assert found == [JPEG] * 3
    (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert record.getMessage().endswith("; trying again")
    assert "s3cret" not in caplog.text
    gc.collect()  # urllib leaves the answers that asked for a password to the collector


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("name", [n for n, answer in BROKEN.items() if b"Type:" not in answer])
def test_at_the_start_it_is_an_error_in_one_line(name: str) -> None:
    with RawServer(lambda *_: BROKEN[name]) as server, pytest.raises(DataError) as caught:
        open_source(f"{server.url}/now.jpg")
    assert str(caught.value).startswith(f"cannot open {server.url}/now.jpg: ")
    del caught
    gc.collect()


@pytest.mark.parametrize("kind", ["", "application/octet-stream", "text/plain", "video/mjpeg"])
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_an_image_is_known_by_its_first_bytes(kind: str, name: str) -> None:
    file = image_file(1, kind=name)
    with RawServer(lambda *_: typed(kind, file)) as server:
        assert next(open_source(f"{server.url}/now")).payload == file


def parts(*bodies: bytes, end: bytes = b"--\r\n", line: bytes = b"--cam") -> bytes:
    """A multipart body."""
    head = b"\r\nContent-Type: image/jpeg\r\nX-Time: 1\r\n\r\n"
    return b"\r\n".join(line + head + body for body in bodies) + b"\r\n" + line + end


ONE_PART = {
    "bare": JPEG,
    "closed": parts(JPEG),
    "open": parts(JPEG, end=b"\r\n"),
    "other boundary": parts(JPEG, line=b"----cam"),
    "line before": b"\r\n" + parts(JPEG),
    "line feeds": parts(JPEG).replace(b"\r\n\r\n", b"\n\n"),
    "no head": b"--cam\r\n\r\n" + JPEG + b"\r\n--cam--",
    "no end": parts(JPEG)[: -len(b"\r\n--cam--\r\n")],
}


@pytest.mark.parametrize("body", ONE_PART.values(), ids=ONE_PART)
def test_several_parts_around_one_image(body: bytes) -> None:
    with RawServer(lambda *_: typed("multipart/x-mixed-replace;boundary=cam", body)) as server:
        assert next(open_source(f"{server.url}/now")).payload == JPEG


@pytest.mark.parametrize(
    "body", [parts(JPEG, JPEG), parts(*[JPEG] * 50, end=b"\r\n"), b"<html>" * 20, b"\0\0\0\x18ftyp"]
)
def test_what_is_no_single_image_is_left_to_the_reader_of_streams(body: bytes) -> None:
    with RawServer(lambda *_: typed("multipart/x-mixed-replace", body)) as server:
        assert not is_still(f"{server.url}/now")


def test_an_image_that_stops_half_way_is_no_still() -> None:
    """A stream may be slow, and whoever waits for its end waits for ever."""
    answered = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/now"

        def answer() -> None:
            link, _ = listener.accept()
            with link:
                link.sendall(typed("", parts(JPEG)[:4000]))
                answered.wait(20)

        thread = threading.Thread(target=answer)
        thread.start()
        assert not is_still(url)
        answered.set()
        thread.join()


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/front door.jpg", "/front%20door.jpg"),
        ("/front%20door.jpg", "/front%20door.jpg"),
        ("/Tür.jpg?n=a b", "/T%C3%BCr.jpg?n=a%20b"),
        ("/now?a=1&b=%2F+c#d", "/now?a=1&b=%2F+c"),
        ("", "/"),
    ],
)
def test_what_a_url_may_not_have_is_escaped(path: str, asked: str) -> None:
    with RawServer(lambda *_: GOOD) as server:
        assert next(open_source(server.url + path)).payload == JPEG
    assert set(server.requests) == {f"GET {asked} HTTP/1.1"}


def test_a_redirect_to_a_name_with_a_space() -> None:
    def answer(request: str, _: int) -> bytes:
        there = "/front" in request
        return GOOD if there else b"HTTP/1.1 302 Found\r\nLocation: /front door.jpg\r\n\r\n"

    with RawServer(answer) as server:
        assert next(open_source(f"{server.url}/now")).payload == JPEG


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    pair = new_server(new_authority(), ["camera.local"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (tmp_path / "crt").write_bytes(pair.certificate)
    (tmp_path / "key").write_bytes(pair.key)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    return context


def test_a_certificate_of_nobody_is_taken_if_told_so(self_signed: ssl.SSLContext) -> None:
    with RawServer(lambda *_: GOOD, self_signed) as server:
        with pytest.raises(DataError, match=r"certificate is not trusted \(.*\); --insecure"):
            open_source(f"{server.url}/now")
        assert next(open_source(f"{server.url}/now", insecure=True)).payload == JPEG


def test_what_cannot_be_made_smaller_passes_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    cv2 = pytest.importorskip("cv2", reason="making images smaller needs the 'camera' extra")

    def refuses(*_: object) -> None:
        raise cv2.error("too many pixels")

    monkeypatch.setattr(video._opencv(), "imdecode", refuses)
    with RawServer(lambda *_: GOOD) as server:
        assert next(Stills(f"{server.url}/now", Form(size=10))).payload == JPEG
