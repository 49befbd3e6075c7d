"""Where a camera's images come from: files, videos, streams that are lost, and still images."""

import base64
import gc
import io
import itertools
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from devit_iot.camera import source as source_module
from devit_iot.camera import video
from devit_iot.camera.open_source import open_source
from devit_iot.camera.source import CameraImages, Form
from devit_iot.errors import DataError
from tests.support.camera_server import CameraServer
from tests.support.fleets import image_file, wait_until

WAIT_S = 60.0
pytest.importorskip("cv2", reason="video needs the 'camera' extra")


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "MIN_PAUSE_S", 0.05)


def grey(level: int, size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(buffer, "JPEG")
    return buffer.getvalue()


def level(file: bytes) -> float:
    return float(np.asarray(Image.open(io.BytesIO(file)).convert("L"), np.float64).mean())


def dimensions(file: bytes) -> tuple[int, int]:
    size: tuple[int, int] = Image.open(io.BytesIO(file)).size
    return size


def brightening() -> Iterator[bytes]:
    """Each image says when it was taken."""
    return (grey(number % 250) for number in itertools.count())


@pytest.fixture
def camera() -> CameraServer:
    images = brightening()
    lock = threading.Lock()

    def image() -> bytes:
        with lock:
            return next(images)

    return CameraServer(image)


def ends(images: CameraImages) -> bool:
    """Whether closing it ends somebody who waits."""
    ended = threading.Event()

    def wait() -> None:
        for _ in images:
            pass
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    images.close()
    return ended.wait(WAIT_S)


@pytest.mark.parametrize("path", ["/stream", "/still"])
def test_a_network_camera_gives_images_and_comes_back(
    camera: CameraServer, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with camera:
        images = open_source(camera.url + path)
        first, second = next(images), next(images)
    assert level(first.payload) < level(second.payload)
    assert first.name != second.name
    with caplog.at_level(logging.WARNING):
        waiting: list[bytes] = []
        thread = threading.Thread(target=lambda: waiting.extend(s.payload for s in images))
        thread.start()
        wait_until(lambda: caplog.records, WAIT_S)  # it noticed
        before = len(waiting)
        with camera:
            wait_until(lambda: len(waiting) >= before + 2, WAIT_S)
            images.close()
            thread.join(WAIT_S)
    assert not thread.is_alive()
    assert level(waiting[-1]) > level(second.payload)


@pytest.mark.parametrize("path", ["/stream", "/still"])
def test_it_ends_while_somebody_waits(camera: CameraServer, path: str) -> None:
    with camera:
        images = open_source(camera.url + path)
        next(images)
    assert ends(images)


def test_a_stream_gives_the_newest_frame_not_the_next(camera: CameraServer) -> None:
    """A slow consumer of every frame would show an ever older world, and hold it in memory."""
    with camera:
        images = open_source(f"{camera.url}/stream")
        first = level(next(images).payload)
        for _ in range(40):
            camera._images()  # time goes by
        later = [level(next(images).payload) for _ in range(8)]
        images.close()
    assert max(later) > first + 40


def test_a_still_image_passes_as_it_is(camera: CameraServer) -> None:
    file = image_file(1, kind="PNG")
    camera._images = lambda: file
    camera.kind = "image/png"
    with camera:
        assert next(open_source(f"{camera.url}/still")).payload == file


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_user_and_password_are_sent_and_not_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret = base64.b64encode(b"me:a:b").decode()
    with CameraServer(lambda: grey(1), password=secret) as camera:
        url = camera.url.replace("//", "//me:a%3Ab@") + "/still"
        image = next(open_source(url))
        assert level(image.payload) < 5
        assert "a%3Ab" not in image.name
        with pytest.raises(DataError, match="401") as caught:
            open_source(url.replace("a%3Ab", "wrong"))
        assert "wrong" not in str(caught.value)
    assert "a%3Ab" not in caplog.text
    gc.collect()  # urllib leaves the answer that asked for the password to the collector


def test_what_is_no_image_any_more_is_waited_out(
    camera: CameraServer, caplog: pytest.LogCaptureFixture
) -> None:
    with camera:
        stills = open_source(f"{camera.url}/still")
        next(stills)
        camera.kind = "text/html"
        images, camera._images = camera._images, lambda: b"<html>busy</html>"
        result: list[bytes] = []
        thread = threading.Thread(target=lambda: result.append(next(stills).payload))
        thread.start()
        while "text/html" not in caplog.text:
            thread.join(0.05)
        camera.kind, camera._images = "image/jpeg", images
        thread.join(WAIT_S)
    assert len(result) == 1


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("http://127.0.0.1:9/still", "cannot open http://127.0.0.1:9/still"),
        ("rtsp://me:secret@127.0.0.1:9/x", "cannot open rtsp://127.0.0.1:9/x"),
        ("987", "cannot open webcam 987"),
        ("/dev/video987", "cannot open webcam 987"),
        ("nowhere", "nowhere does not exist"),
        ("rtsp://me:sec/ret@127.0.0.1:9/x", r"cannot open rtsp://\*\*\*: .* write %23 for #"),
        ("http://[x", "no URL"),
        ("rtsp://[x", "cannot open rtsp://"),
    ],
)
def test_what_is_not_there_is_named(source: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        open_source(source)


def test_a_missing_page_is_named(camera: CameraServer) -> None:
    with camera, pytest.raises(DataError, match="404"):
        open_source(f"{camera.url}/nothing")


def test_a_file_that_is_no_video(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a video")
    with pytest.raises(DataError, match="neither an image nor a video"):
        open_source(str(file))


class NoFrames:
    """A capture of a file that opens and has no picture for OpenCV, as an AVIF file has none."""

    def read(self) -> tuple[bool, None]:
        return False, None

    def release(self) -> None:
        """Nothing is held."""


def test_a_video_without_a_frame_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "photo.avif"
    file.write_bytes(b"\0\0\0\x1cftypavif")
    monkeypatch.setattr(video, "_opened", lambda _: NoFrames())
    images = open_source(str(file))
    with pytest.raises(DataError, match=r"photo\.avif gives no picture"):
        next(images)


def test_a_stream_that_is_closed_leaves_no_thread_in_opencv(camera: CameraServer) -> None:
    """Such a thread aborts the process when the interpreter ends."""
    with camera:
        images = open_source(f"{camera.url}/stream")
        next(images)
        assert "video" in {thread.name for thread in threading.enumerate()}
        images.close()
        assert "video" not in {thread.name for thread in threading.enumerate()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photos, and what stands beside them on the disks of storage servers."""
    photo = image_file(1, kind="JPEG")
    for path in ("a.jpg", "z/z.JPG", "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", ".@__thumb/a.jpg"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(photo)
    (tmp_path / "._a.jpg").write_bytes(b"\0\5\x16\7")  # macOS
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    return tmp_path


def test_only_files_of_a_folder_are_its_images(folder: Path) -> None:
    names = [image.name for image in open_source(str(folder))]
    assert names == [str(folder / "a.jpg"), str(folder / "z/z.JPG")]


def test_a_file_that_cannot_be_read_costs_itself(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "b.jpg").symlink_to("nowhere.jpg")
    (folder / "c.jpg").symlink_to("c.jpg")
    (folder / "d.gif").write_bytes(b"GIF89a")
    images = open_source(str(folder))
    assert next(images).name.endswith("a.jpg")
    (folder / "z/z.JPG").unlink()  # after it was listed
    (folder / "z/zz.jpg").write_bytes(b"too late")
    assert list(images) == []
    assert [record.getMessage().count("left out") for record in caplog.records] == [1] * 4


def test_a_folder_in_which_nothing_can_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"a\.jpg cannot be read .*repair or remove it"):
        next(open_source(str(tmp_path)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        open_source(str(tmp_path / "empty"))


def test_images_become_as_small_as_wanted_and_no_smaller(tmp_path: Path) -> None:
    large, small, bad = tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png"
    large.write_bytes(image_file(0, size=(200, 100)))
    small.write_bytes(image_file(0, size=(50, 40)))
    bad.write_bytes(b"no image")
    made = [image.payload for image in open_source(str(tmp_path), form=Form(size=50))]
    assert dimensions(made[0]) == (50, 25)
    assert made[1:] == [small.read_bytes(), bad.read_bytes()]
    assert [s.payload for s in open_source(str(large))] == [large.read_bytes()]


def test_quality_and_size_of_frames(camera: CameraServer) -> None:
    noise = image_file(3, kind="JPEG", size=(160, 120))
    camera._images = lambda: noise
    with camera:
        sizes = []
        for form in (Form(quality=95), Form(quality=10), Form(size=80, quality=10)):
            images = open_source(f"{camera.url}/stream", form=form)
            sizes.append(next(images).payload)
            images.close()
    assert len(sizes[0]) > 2 * len(sizes[1]) > 2 * len(sizes[2])
    assert [dimensions(file) for file in sizes] == [(160, 120), (160, 120), (80, 60)]
