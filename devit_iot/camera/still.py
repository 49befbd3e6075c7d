"""Still images of a URL that gives a new one each time, as many cameras and Frigate do."""

import logging
import re
import ssl
import threading
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from typing import Self, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from urllib.request import (
    HTTPBasicAuthHandler,
    HTTPDigestAuthHandler,
    HTTPPasswordMgrWithDefaultRealm,
    HTTPSHandler,
    OpenerDirector,
    build_opener,
)

from devit_iot.camera.camera_url import UNESCAPED, advice, scrubbed, without_password
from devit_iot.camera.source import CameraImage, Form, pauses
from devit_iot.errors import DataError
from devit_iot.protocol.image_message import is_picture

logger = logging.getLogger(__name__)

MAX_BYTES = 16 * 2**20
"""Of one image; a node takes no larger one unless told to."""

TIMEOUT_S = 10.0
"""Seconds for each answer of the server, and for the look at what is there."""

_PIECE = 2**16
_HEAD = 64  # bytes that tell what an answer is
_SAFE = "%/:=&?~#+!$,;'@()*[]"  # what stays in a URL that is escaped already, or not at all
_PART_HEAD = re.compile(rb"\s*(--[^\r\n]+)\r?\n(?:[^\r\n]+\r?\n)*\r?\n")

T = TypeVar("T")


class _Page:
    """What is at a URL.

    Args:
        url: may have a user and a password, also for Digest authentication.
        insecure: whether to take any certificate.

    Attributes:
        name: the URL as it may be logged.

    Raises:
        DataError: it is no URL.
    """

    def __init__(self, url: str, *, insecure: bool) -> None:
        self.name = without_password(url)
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018 - raises if it is no number
            user, password = unquote(parts.username or ""), unquote(parts.password or "")
        except ValueError:  # its words may hold the password
            raise DataError(f"{self.name} is no URL: {UNESCAPED}") from None
        place = parts.netloc.rpartition("@")[2]
        path, query = quote(parts.path, safe=_SAFE), quote(parts.query, safe=_SAFE)
        self._url = urlunsplit((parts.scheme, place, path, query, ""))
        self._opener = _opener(self._url, user, password, insecure=insecure)

    def read(self, take: Callable[[HTTPResponse], T]) -> T:
        """What ``take`` makes of the answer.

        Raises:
            OSError: there is none, it is broken, or ``take`` raised; in words that may be logged.
        """
        try:
            with self._opener.open(self._url, timeout=TIMEOUT_S) as answer:
                return take(answer)
        except Exception as error:  # urllib raises many types for broken answers
            if isinstance(error, HTTPError):
                error.close()
            raise OSError(scrubbed(_words(error))) from error


def is_still(url: str, *, insecure: bool = False) -> bool:
    """Whether what is there now is one image, and not a stream.

    An image is known by its first bytes, or by its Content-Type. An answer of several parts is a
    still image if it ends after the first one.

    Raises:
        DataError: there is nothing, or it may not be read.
    """
    page = _Page(url, insecure=insecure)
    try:
        return page.read(_is_one_image)
    except OSError as error:
        raise DataError(f"cannot open {page.name}: {error}{advice(page.name)}") from error


class Stills:
    """Reads the URL anew for each image; while it cannot be read, again after 1 to 30 s.

    Args:
        url: address of one image file.
        form: what the images are made into.
        insecure: whether to take any certificate.
    """

    def __init__(self, url: str, form: Form, *, insecure: bool = False) -> None:
        self._page = _Page(url, insecure=insecure)
        self._form = form
        self._number = 0
        self._closed = threading.Event()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> CameraImage:
        wait_s = pauses()
        while not self._closed.is_set():
            try:
                image = self._page.read(_image)
            except OSError as error:
                logger.warning("%s: %s; trying again", self._page.name, error)
                self._closed.wait(next(wait_s))
                continue
            number, self._number = self._number, self._number + 1
            return CameraImage(f"{self._page.name}#{number}", self._formed(image))
        raise StopIteration

    def close(self) -> None:
        """See :class:`devit_iot.camera.source.CameraImages`."""
        self._closed.set()

    def _formed(self, image: bytes) -> bytes:
        if self._form.size is None:
            return image
        from devit_iot.camera.video import shrunk

        return shrunk(image, self._form)


def _image(answer: HTTPResponse) -> bytes:
    kind = answer.headers.get_content_type()
    content = answer.read(MAX_BYTES + 1)
    if not 0 < len(content) <= MAX_BYTES:
        raise ValueError(f"an image of 1 to {MAX_BYTES} bytes was expected")
    image = _image_in(content, kind)
    if image is None:
        raise ValueError(f"it gives {kind}, no image")
    return image


def _image_in(content: bytes, kind: str) -> bytes | None:
    """The image file in an answer, alone or as its first part."""
    if is_picture(content) or kind.startswith("image/"):
        return content
    head = _PART_HEAD.match(content)
    if head is None:
        return None
    part = content[head.end() :].partition(b"\n" + head[1])[0].removesuffix(b"\r")
    return part if is_picture(part) else None


def _is_one_image(answer: HTTPResponse) -> bool:
    kind = answer.headers.get_content_type()
    if kind.startswith("image/"):
        return True
    content, ends = bytearray(), time.monotonic() + TIMEOUT_S
    while len(content) <= MAX_BYTES and time.monotonic() < ends:
        try:
            piece = answer.read1(_PIECE)
        except TimeoutError:  # a stream may be slow
            return False
        if not piece:
            return _image_in(bytes(content), kind) is not None
        content += piece
        if len(content) >= _HEAD and not _may_be_one_image(content):
            return False
    return False


def _may_be_one_image(content: bytearray) -> bool:
    """Whether this beginning of an answer is an image, or has one part so far."""
    if is_picture(bytes(content[:_HEAD])):
        return True
    head = _PART_HEAD.match(content)
    if head is None:
        return content.lstrip().startswith(b"--") and len(content) < _PIECE
    second = content.find(b"\n" + head[1], head.end())
    return second < 0 or _PART_HEAD.match(content, second + 1) is None


def _words(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"{error.code} {error.reason}"
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({reason.verify_message}); --insecure takes it"
    if isinstance(error, HTTPException):
        return f"its answer is broken HTTP ({type(error).__name__}: {error})"
    return str(reason)


def _opener(url: str, user: str, password: str, *, insecure: bool) -> OpenerDirector:
    """What reads ``url``; with a user, by Basic or Digest authentication."""
    passwords = HTTPPasswordMgrWithDefaultRealm()
    if user:
        passwords.add_password(None, url, user, password)
    tls = ssl.create_default_context()
    if insecure:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    return build_opener(
        HTTPBasicAuthHandler(passwords),
        HTTPDigestAuthHandler(passwords),
        HTTPSHandler(context=tls),
    )
