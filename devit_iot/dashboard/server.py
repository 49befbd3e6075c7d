"""The live page's web server: static files, and what the page must know of its fleet.

The page (``devit_iot/dashboard/``) reads the fleet's topics from the broker by itself, over MQTT in
a WebSocket. This server holds no secret and takes no input but the name of a file.
"""

import hashlib
import ipaddress
import logging
import re
import urllib.parse
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import msgspec

from devit_iot import __version__
from devit_iot.config.config import NodeConfig
from devit_iot.errors import DevitError
from devit_iot.protocol.cells import CellTopics
from devit_iot.protocol.json_message import MAX_JSON_BYTES
from devit_iot.protocol.status import STATUS_LIFETIME_S
from devit_iot.protocol.text import MAX_CAMERA_BYTES, MAX_CAMERA_LENGTH, MAX_TEXT, shown
from devit_iot.protocol.topics import ImageFilter, Topics

logger = logging.getLogger(__name__)

FACTS = "/fleet.json"
"""Path of what the page must know."""

_FOLDER = Path(__file__).resolve().parent
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
_IDLE_S = 10.0  # a browser that says nothing for so long gives its thread back

# The page shows text and images that anybody at the broker wrote. It never makes HTML of them;
# should it ever, the browser would still run no script that is not a file of ours, load nothing
# from elsewhere and talk to no one but us and the broker. Only a page of the same origin may frame
# it, which is what Home Assistant's sidebar is.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
    "img-src 'self' blob:; connect-src 'self' {broker}; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class PageFacts(NamedTuple):
    """What a page shows.

    Attributes:
        topics: the fleet's topics; :class:`CellTopics` of all cells at an upper broker.
        images: image filters, as the nodes have them.
        websocket: ``ws://host:port/path`` of the broker; a loopback host stands for the host by
            which the page itself was reached.
    """

    topics: Topics
    images: tuple[str, ...]
    websocket: str


class _File(NamedTuple):
    kind: str
    content: bytes
    tag: str


class DashboardServer:
    """Serves the page until :meth:`stop`.

    Args:
        host: address to listen on.
        port: 0 takes a free one.
        facts: what to show.

    Raises:
        DevitError: the address cannot be listened on.
    """

    def __init__(self, host: str, port: int, facts: PageFacts) -> None:
        files = _read_files(_FOLDER)

        class Handler(_Handler):
            pass

        Handler.facts, Handler.files = facts, files
        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise DevitError(
                f"cannot serve the page on {host}:{port}: {error}; choose another --listen"
            ) from error
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """Where the page is."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/"

    def run(self) -> None:
        """Serve until :meth:`stop`."""
        try:
            self._server.serve_forever()
        finally:
            self._server.server_close()

    def stop(self) -> None:
        """Make :meth:`run` return; wait until it left its loop."""
        self._server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    """One request. Only files that were read at the start are there, by their exact names."""

    facts: PageFacts
    files: Mapping[str, _File]
    timeout = _IDLE_S
    server_version = "devit"
    sys_version = ""

    def do_GET(self) -> None:
        """A file, or what the page must know."""
        path = self.path.partition("?")[0]
        if path == FACTS:
            facts = _facts(self.facts, self._broker())
            self._answer(HTTPStatus.OK, _File("application/json", facts, ""))
        elif (file := self.files.get(path)) is None:
            self._answer(HTTPStatus.NOT_FOUND, _plain("no such file"))
        elif self.headers.get("If-None-Match") == file.tag:
            self._answer(HTTPStatus.NOT_MODIFIED, file._replace(content=b""))
        else:
            self._answer(HTTPStatus.OK, file)

    do_HEAD = do_GET  # noqa: N815 - the base class looks for this name

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses: answered like everything else."""
        del message, explain
        self.close_connection = True
        self._answer(HTTPStatus(code), _plain(HTTPStatus(code).phrase))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Write a line to our log; the text quotes the request."""
        logger.debug("%s %s", self.client_address[0], shown(format % args))

    def _answer(self, status: HTTPStatus, file: _File) -> None:
        self.send_response(status)
        self.send_header("Content-Security-Policy", _POLICY.format(broker=_origin(self._broker())))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if file.tag:
            self.send_header("ETag", file.tag)
        self.send_header("Content-Type", file.kind)
        self.send_header("Content-Length", str(len(file.content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(file.content)

    def _broker(self) -> str:
        """The broker's WebSocket address as seen from the browser."""
        headers = getattr(self, "headers", None)  # missing if the request did not parse
        return _seen_from(self.facts.websocket, headers.get("Host", "") if headers else "")


def _facts(facts: PageFacts, broker: str) -> bytes:
    """``fleet.json``: names and limits, each from the one place that states it."""
    topics = facts.topics
    return msgspec.json.encode(
        {
            "version": __version__,
            "fleet": topics.fleet,
            "broker": broker,
            "cells": isinstance(topics, CellTopics),
            "client_id": topics.dashboard_client_id(""),
            "topics": {
                "labels": topics.labels,
                "head_labels": topics.head_labels,
                "states": topics.states,
                "nodes": topics.node_statuses,
                "aggregators": topics.aggregator_status("+"),
                **_further(topics),
                "teach": {
                    "state": topics.teach_state,
                    "ask": topics.teach_ask(""),
                    "answer": topics.teach_answer(""),
                },
            },
            "images": [
                {"pattern": pattern, "filter": ImageFilter(pattern).mqtt}
                for pattern in facts.images
            ],
            "limits": {
                "json_bytes": MAX_JSON_BYTES,
                "text": MAX_TEXT,
                "camera_length": MAX_CAMERA_LENGTH,
                "camera_bytes": MAX_CAMERA_BYTES,
                "pixels": NodeConfig().max_pixels,
                "status_s": STATUS_LIFETIME_S,
            },
        }
    )


def _further(topics: Topics) -> dict[str, str]:
    """At an upper broker, where bridges say that they are there; else topics of releases."""
    if isinstance(topics, CellTopics):
        return {"connected": topics.connected}
    return {"hub": topics.hub_status, "node_updates": topics.node_update("+")}


def _seen_from(websocket: str, host_header: str) -> str:
    """``websocket`` with its loopback host replaced by the host that the browser asked for."""
    parts = urllib.parse.urlsplit(websocket)
    asked = _asked_host(host_header)
    if not _is_loopback(parts.hostname or "") or not asked or _is_loopback(asked):
        return websocket
    host = f"[{asked}]" if ":" in asked else asked
    return parts._replace(netloc=f"{host}:{parts.port}").geturl()


def _asked_host(header: str) -> str:
    """The host of a Host header, empty if it is none: it goes into our own headers."""
    try:
        host = urllib.parse.urlsplit(f"//{header}").hostname or ""
        return host if _HOST.fullmatch(host) else str(ipaddress.IPv6Address(host))
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _origin(websocket: str) -> str:
    """The origin for the policy; for IPv6, which its grammar lacks, any host at that port."""
    parts = urllib.parse.urlsplit(websocket)
    host = "*" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port}"


def _read_files(folder: Path) -> dict[str, _File]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            found[f"/{path.relative_to(folder).as_posix()}"] = _File(
                _TYPES[path.suffix], content, tag
            )
    return found | {"/": found["/index.html"]}


def _plain(text: str) -> _File:
    return _File("text/plain; charset=utf-8", f"{text}\n".encode(), "")
