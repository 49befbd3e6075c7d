"""Frames of videos, streams and webcams as JPEG files. The only user of OpenCV."""

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from devit_iot.camera.camera_url import advice
from devit_iot.camera.source import CameraImage, Form, pauses
from devit_iot.errors import DataError

logger = logging.getLogger(__name__)

TIMEOUT_MS = 10_000
"""For a stream to open, and for its next frame."""

_END_S = 2 * TIMEOUT_MS / 1000  # for a stream that opens, and for its first frame


def frames_of(path: Path, form: Form) -> Iterator[CameraImage]:
    """Every frame of a video file.

    Raises:
        DataError: it is no video, has no frame, or OpenCV is not installed.
    """
    capture = _opened(str(path))
    if capture is None:
        raise DataError(f"{path} is neither an image nor a video that OpenCV reads")

    def frames() -> Iterator[CameraImage]:
        number = 0
        try:
            while (frame := _next_frame(capture)) is not None:
                yield CameraImage(f"{path}#{number}", _jpeg(frame, form))
                number += 1
            if not number:
                raise DataError(f"{path} gives no picture: make it a JPEG, PNG or WebP file")
        finally:
            capture.release()

    return frames()


def shrunk(file: bytes, form: Form) -> bytes:
    """An image file, as it is if its longer side has at most ``form.size`` pixels, else a JPEG.

    One that OpenCV does not decode stays as it is, for whoever gets it to refuse.
    """
    import numpy as np

    cv2 = _opencv()
    try:
        image = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR) if file else None
    except cv2.error:  # too many pixels
        return file
    if image is None or form.size is None or max(image.shape[:2]) <= form.size:
        return file
    return _jpeg(image, form)


class Live:
    """The newest frame of a stream or webcam, each time one is asked for.

    A thread reads on, so that frames which nobody wants do not pile up; it opens the source again
    when that is lost.

    Args:
        where: a webcam's number or a stream's URL.
        name: the source for people, without a password.
        form: what frames are made into.

    Raises:
        DataError: it does not open, or OpenCV is not installed.
    """

    def __init__(self, where: int | str, name: str, form: Form) -> None:
        self._where = where
        self._name = name
        self._form = form
        self._number = 0
        self._changed = threading.Condition()
        self._wanted = False
        self._frame: Any = None
        self._closed = threading.Event()
        capture = _opened(where)
        if capture is None:
            raise DataError(
                f"cannot open {name}: is it there, and does nobody else use it?{advice(name)}"
            )
        self._reader = threading.Thread(
            target=self._read, args=(capture,), name="video", daemon=True
        )
        self._reader.start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> CameraImage:
        with self._changed:
            self._wanted = True
            self._changed.wait_for(lambda: self._frame is not None or self._closed.is_set())
            frame, self._frame = self._frame, None
        if self._closed.is_set():
            raise StopIteration
        number, self._number = self._number, self._number + 1
        return CameraImage(f"{self._name}#{number}", _jpeg(frame, self._form))

    def close(self) -> None:
        """See :class:`devit_iot.camera.source.CameraImages`; returns when the source is released.

        A thread that is inside OpenCV when the interpreter ends aborts the process.
        """
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        self._reader.join(_END_S)

    def _read(self, capture: Any) -> None:  # noqa: ANN401 - OpenCV has no types
        while not self._closed.is_set():
            if not self._hand_over(capture) and not self._closed.is_set():
                capture.release()
                logger.warning("%s is lost; opening it again", self._name)
                capture = self._open_again()
        if capture is not None:
            capture.release()

    def _hand_over(self, capture: Any) -> bool:  # noqa: ANN401
        """Read one frame, and keep it if somebody waits; False: there is none."""
        if not capture.grab():
            return False
        if self._wanted:  # converting it is half the work
            good, frame = capture.retrieve()
            if good:
                with self._changed:
                    self._wanted = False
                    self._frame = frame
                    self._changed.notify_all()
        return True

    def _open_again(self) -> Any:  # noqa: ANN401
        """Try until it opens; None: closed meanwhile."""
        for pause_s in pauses():
            if self._closed.wait(pause_s):
                break
            capture = _opened(self._where)
            if capture is not None:
                logger.info("%s is back", self._name)
                return capture
        return None


def _opencv() -> ModuleType:
    # FFmpeg's words may hold pieces of a password; -8 is its name for silence.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ImportError as error:
        raise DataError("this needs OpenCV: pip install 'devit-iot[camera]'") from error
    module: ModuleType = cv2
    return module


def _opened(where: int | str) -> Any:  # noqa: ANN401
    """A capture, or None if it does not open."""
    cv2 = _opencv()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # our words say it
    if isinstance(where, str) and "://" in where:
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT_MS]
        limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT_MS]
        capture = cv2.VideoCapture(where, cv2.CAP_FFMPEG, limits)
    else:
        capture = cv2.VideoCapture(where)
    return capture if capture.isOpened() else None


def _next_frame(capture: Any) -> Any:  # noqa: ANN401
    good, frame = capture.read()
    return frame if good else None


def _jpeg(frame: Any, form: Form) -> bytes:  # noqa: ANN401 - uint8 (height, width, 3), BGR
    cv2 = _opencv()
    height, width = frame.shape[:2]
    if form.size is not None and max(height, width) > form.size:
        scale = form.size / max(height, width)
        smaller = (max(1, round(width * scale)), max(1, round(height * scale)))
        frame = cv2.resize(frame, smaller, interpolation=cv2.INTER_AREA)
    _, file = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, form.quality])
    content: bytes = file.tobytes()
    return content
