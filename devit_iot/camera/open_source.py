"""Images to publish: from files, folders, videos, streams, webcams and still images of a URL."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from devit_iot.camera.camera_url import is_url, shown_source, without_password
from devit_iot.camera.source import CameraImage, CameraImages, Form
from devit_iot.datasets.other_image import OTHER_SUFFIXES, is_other, to_png
from devit_iot.datasets.tree import is_litter
from devit_iot.errors import DataError, ImageError
from devit_iot.protocol.image_message import IMAGE_SUFFIXES

log = logging.getLogger(__name__)

_READ = IMAGE_SUFFIXES | OTHER_SUFFIXES
_WEBCAM = re.compile(r"(?:/dev/video)?(\d+)")


class Finite:
    """Images that come without waiting."""

    def __init__(self, images: Iterator[CameraImage]) -> None:
        self._images = images
        self._closed = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> CameraImage:
        if self._closed:
            raise StopIteration
        return next(self._images)

    def close(self) -> None:
        """See :meth:`devit_iot.camera.source.CameraImages.close`."""
        self._closed = True


def open_source(
    source: str,
    *,
    repeat: bool = False,
    form: Form = Form(),  # noqa: B008
    insecure: bool = False,
) -> CameraImages:
    """The images of a source.

    A stream, a webcam and a still image at a URL go on for ever: when they are lost they are opened
    again, after 1 to 30 s, and each image is the newest one.

    Args:
        source: an image file, a folder of images (any depth), a video file, an ``rtsp``, ``http``
            or other URL, a webcam's number or its ``/dev/videoN``.
        repeat: start again at the end, for ever; image files only.
        form: what the images are made into.
        insecure: whether an https URL may have any certificate.

    Raises:
        DataError: nothing there to publish, or OpenCV is needed and not installed.
    """
    if is_url(source):
        return _at_url(source, form, insecure=insecure)
    webcam = _WEBCAM.fullmatch(str(Path(source).resolve()) if source[:1] == "/" else source)
    if webcam is not None:
        from devit_iot.camera.video import Live

        return Live(int(webcam[1]), f"webcam {webcam[1]}", form)
    path = Path(source)
    if path.is_dir():
        files = sorted(_images_in(path))
        if not files:
            raise DataError(f"{path} holds no image ({', '.join(sorted(_READ))})")
        return Finite(_files(files, repeat=repeat, form=form))
    if not path.is_file():
        raise DataError(f"{shown_source(source)} does not exist")
    if path.suffix.lower() in _READ:
        return Finite(_files([path], repeat=repeat, form=form))
    from devit_iot.camera.video import frames_of

    return Finite(frames_of(path, form))


def _at_url(url: str, form: Form, *, insecure: bool) -> CameraImages:
    from devit_iot.camera.still import Stills, is_still
    from devit_iot.camera.video import Live

    is_http = url.lower().startswith(("http://", "https://"))
    if is_http and is_still(url, insecure=insecure):
        return Stills(url, form, insecure=insecure)
    return Live(url, without_password(url), form)


def _images_in(folder: Path) -> Iterator[Path]:
    """Files, and links that lead nowhere, which are named when they are read.

    What :func:`devit_iot.datasets.tree.is_litter` knows holds no pictures of its own.
    """
    for path in folder.rglob("*"):
        own = not any(map(is_litter, path.relative_to(folder).parts))
        if own and path.suffix.lower() in _READ and (path.is_file() or path.is_symlink()):
            yield path


def _files(files: list[Path], *, repeat: bool, form: Form) -> Iterator[CameraImage]:
    """The files in turn; one that cannot be read costs itself alone, unless there is no other.

    Raises:
        DataError: none of the files can be read.
    """
    while True:
        sent, said = 0, ""
        for file in files:
            try:
                content = _content(file, form)
            except (OSError, ImageError) as error:
                said = f"{file} cannot be read ({error})"
                log.warning("%s: left out", said)
                continue
            sent += 1
            yield CameraImage(str(file), content)
        if not sent:
            raise DataError(f"{said}; repair or remove it")
        if not repeat:
            return


def _content(file: Path, form: Form) -> bytes:
    content = file.read_bytes()
    if is_other(file.name):
        content = to_png(content)
    if form.size is not None:
        from devit_iot.camera.video import shrunk

        content = shrunk(content, form)
    return content
