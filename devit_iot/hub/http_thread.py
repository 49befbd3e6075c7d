"""An HTTP server on a thread of its own, and what the hub's servers share."""

import hmac
import socket
import ssl
import threading

import msgspec

from devit_iot.errors import ConfigError

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import FileResponse, Response
    from starlette.routing import Route
except ImportError as missing:
    raise ConfigError(
        f"the hub needs starlette and uvicorn ({missing}): pip install 'devit-iot[hub]'"
    ) from missing

__all__ = [
    "FileResponse",
    "HttpThread",
    "Request",
    "Response",
    "Route",
    "Starlette",
    "has_token",
    "json_answer",
    "text_answer",
]

_BACKLOG = 512  # a whole fleet may come at once


class HttpThread:
    """Serves ``app`` from :meth:`start` to :meth:`stop`.

    Args:
        app: what answers.
        address: host and port to listen on; port 0 takes a free one.
        key: name of the option that holds the address, for the message.
        context: TLS of the server; None: plain HTTP.

    Attributes:
        port: the port.

    Raises:
        ConfigError: the address cannot be used.
    """

    def __init__(
        self, app: Starlette, address: tuple[str, int], key: str, *, context: ssl.SSLContext | None
    ) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=1,
            ssl_context_factory=None if context is None else lambda _config, _make: context,
        )
        host, port = address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server(address, family=family, backlog=_BACKLOG)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host}:{port}: {error.strerror}; choose another {key}"
            ) from error
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="http", daemon=True
        )

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """End; returns when the thread has ended."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


def has_token(request: Request, token: str) -> bool:
    """Whether a request shows the token as ``Authorization: Bearer``."""
    said = request.headers.get("Authorization", "").encode()
    return hmac.compare_digest(said, f"Bearer {token}".encode())


def text_answer(status: int, text: str) -> Response:
    """An answer of one line."""
    return Response(f"{text}\n", status, media_type="text/plain; charset=utf-8")


def json_answer(message: object) -> Response:
    """An answer that programs read."""
    return Response(msgspec.json.encode(message), media_type="application/json")
