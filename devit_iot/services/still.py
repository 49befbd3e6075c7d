"""Still images of a URL that gives a new one each time, as many cameras and Frigate do."""

import logging
import threading
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import (
    HTTPBasicAuthHandler,
    HTTPDigestAuthHandler,
    HTTPPasswordMgrWithDefaultRealm,
    OpenerDirector,
    build_opener,
)

from devit_iot.errors import DataError
from devit_iot.services.shots import Form, Shot

logger = logging.getLogger(__name__)

MAX_BYTES = 16 * 2**20
"""Of one image; a node takes no larger one unless told to."""

_TIMEOUT_S = 10.0
_MIN_PAUSE_S = 1.0
_MAX_PAUSE_S = 30.0


def without_password(url: str) -> str:
    """A URL that may be logged.

    Raises:
        DataError: it is none.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise DataError(f"that is no URL: {error}") from error
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def is_still(url: str) -> bool:
    """Whether what is there now is one image, and not a stream.

    Raises:
        DataError: there is nothing, or it may not be read.
    """
    opener, plain = _opener(url)
    try:
        with _open(opener, plain) as answer:
            kind: str = answer.headers.get_content_maintype()
            return kind == "image"
    except (OSError, ValueError) as error:
        raise DataError(f"cannot open {plain}: {error}") from error


class Stills:
    """Reads the URL anew for each shot; while it cannot be read, again after 1 to 30 s.

    Args:
        url: perhaps with user and password, for HTTP's basic or digest authentication.
        form: what images are made into.
    """

    def __init__(self, url: str, form: Form) -> None:
        self._opener, self._url = _opener(url)
        self._form = form
        self._number = 0
        self._closed = threading.Event()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Shot:
        pause_s = _MIN_PAUSE_S
        while not self._closed.is_set():
            try:
                image = self._read()
            except (OSError, ValueError) as error:
                logger.warning("%s: %s; trying again", self._url, error)
                self._closed.wait(pause_s)
                pause_s = min(2 * pause_s, _MAX_PAUSE_S)
                continue
            number, self._number = self._number, self._number + 1
            return Shot(f"{self._url}#{number}", image)
        raise StopIteration

    def close(self) -> None:
        """See the protocol of shots."""
        self._closed.set()

    def _read(self) -> bytes:
        with _open(self._opener, self._url) as answer:
            kind = answer.headers.get_content_type()
            if not kind.startswith("image/"):
                raise ValueError(f"it gives {kind}, no image")
            content: bytes = answer.read(MAX_BYTES + 1)
        if not 0 < len(content) <= MAX_BYTES:
            raise ValueError(f"an image of 1 to {MAX_BYTES} bytes was expected")
        if self._form.size is None:
            return content
        from devit_iot.services.video import shrunk

        return shrunk(content, self._form)


def _open(opener: OpenerDirector, url: str) -> Any:  # noqa: ANN401 - depends on the protocol
    try:
        return opener.open(url, timeout=_TIMEOUT_S)
    except HTTPError as error:
        error.close()
        raise OSError(f"{error.code} {error.reason}") from None
    except URLError as error:
        raise OSError(str(error.reason)) from error


def _opener(url: str) -> tuple[OpenerDirector, str]:
    """What reads ``url``, and the URL without its user and password."""
    plain = without_password(url)
    parts = urlsplit(url)
    passwords = HTTPPasswordMgrWithDefaultRealm()
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")
        passwords.add_password(None, plain, user, password)
    handlers = (HTTPBasicAuthHandler(passwords), HTTPDigestAuthHandler(passwords))
    return build_opener(*handlers), plain
