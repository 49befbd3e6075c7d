"""Fetches one file by HTTP, goes on where it was cut, and believes nothing but its SHA-256."""

import errno
import hashlib
import http.client
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from devit_iot.bundle.manifest import FileEntry
from devit_iot.errors import DevitError
from devit_iot.updates.durable import settle

_CHUNK = 2**18
_TIMEOUT_S = 20.0
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG}
_BUSY = http.client.SERVICE_UNAVAILABLE


class FetchError(DevitError):
    """The hub cannot be reached, or was cut off: worth another attempt at any time."""


class BusyError(FetchError):
    """The hub serves enough others, or is paused: wait for a turn."""


class ContentError(DevitError):
    """The hub's file is not the one that was wanted."""


class Cancelled(Exception):  # noqa: N818 - no error
    """Nobody wants the file any more."""


class Fetcher:
    """Fetches files of one hub.

    Args:
        context: for https; None if the hub's address is not one.
        timeout_s: without a byte for so long the connection counts as lost.
    """

    def __init__(self, context: ssl.SSLContext | None, timeout_s: float = _TIMEOUT_S) -> None:
        self._context = context
        self._timeout_s = timeout_s

    def fetch(
        self,
        url: str,
        entry: FileEntry,
        path: Path,
        *,
        on_bytes: Callable[[int], None],
    ) -> None:
        """Make ``path`` the file that ``entry`` names; what an earlier attempt got stays.

        Args:
            url: address of the hub.
            entry: size and content of the file; the name that it has there is not looked at.
            path: where the file is to be.
            on_bytes: called with how many bytes are there now; may raise Cancelled.

        Raises:
            FetchError: the hub cannot be reached, or the connection was cut.
            ContentError: the hub does not have the file, or another one under its name.
            OSError: the disk is full, or the folder cannot be written.
        """
        partial = path.with_name(path.name + ".partial")
        have = partial.stat().st_size if partial.exists() else 0
        if have > entry.size:
            partial.unlink()
            have = 0
        if have < entry.size:
            self._receive(f"{url}/files/{entry.sha256}", entry, partial, have, on_bytes)
        with partial.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != entry.sha256:
            partial.unlink()
            raise ContentError(
                f"what the hub sends as {entry.sha256[:12]} has SHA-256 {found[:12]}: push the "
                "bundle again"
            )
        settle(partial, path)

    def get(self, url: str, limit: int) -> tuple[int, bytes]:
        """A short answer: its status, and what came of it, at most ``limit`` and one byte.

        Raises:
            FetchError: the hub cannot be reached, or the connection was cut.
        """
        connection = self._connection(url)
        try:
            connection.request("GET", urlsplit(url).path, headers={"Accept-Encoding": "identity"})
            response = connection.getresponse()
            return response.status, response.read(limit + 1)
        except (http.client.HTTPException, OSError) as error:
            raise FetchError(f"{url} cannot be fetched: {error}") from error
        finally:
            connection.close()

    def _receive(
        self, url: str, entry: FileEntry, partial: Path, have: int, on_bytes: Callable[[int], None]
    ) -> None:
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": f'"{entry.sha256}"'}
        connection = self._connection(url)
        try:
            connection.request("GET", urlsplit(url).path, headers=headers)
            response = connection.getresponse()
            _check(response.status, url)
            resumed = response.status == http.client.PARTIAL_CONTENT
            with partial.open("ab" if resumed else "wb") as file:
                done = file.tell()
                while chunk := response.read1(_CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    if done > entry.size:
                        raise ContentError(f"{url} is longer than {entry.size} bytes")
                    on_bytes(done)
                file.flush()
                os.fsync(file.fileno())
        except (http.client.HTTPException, OSError) as error:
            if _is_disk(error, partial):
                raise
            raise FetchError(f"{url} cannot be fetched: {error}") from error
        finally:
            connection.close()
        if done < entry.size:
            raise FetchError(f"{url} was cut after {done} of {entry.size} bytes")

    def _connection(self, url: str) -> http.client.HTTPConnection:
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
            if parts.scheme == "https":
                return http.client.HTTPSConnection(
                    host, parts.port, timeout=self._timeout_s, context=self._context
                )
            return http.client.HTTPConnection(host, parts.port, timeout=self._timeout_s)
        except (ValueError, http.client.InvalidURL) as error:
            raise FetchError(f"the hub's address {url[:200]} is none: {error}") from error


def _check(status: int, url: str) -> None:
    if status == _BUSY:
        raise BusyError("waiting for a turn: the hub serves others, or is paused")
    if status == http.client.NOT_FOUND:
        raise ContentError(f"{url} is not there: push the bundle again")
    if status not in {http.client.OK, http.client.PARTIAL_CONTENT}:
        raise FetchError(f"{url} answers {status}")


def _is_disk(error: Exception, path: Path) -> bool:
    """Whether writing failed, and not the network."""
    return isinstance(error, OSError) and (error.filename == str(path) or error.errno in _DISK)
