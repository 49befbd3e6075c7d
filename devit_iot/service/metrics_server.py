"""The small HTTP server of metrics and health."""

import socket
import socketserver
import threading
from collections.abc import Callable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

Request = socket.socket | tuple[bytes, socket.socket]  # as socketserver has it

_CLIENTS = 8


class MetricsHandler(WSGIRequestHandler):
    """Logs nothing, and hangs up on a client that takes too long."""

    def __init__(self, timeout_s: float, *connection: Any) -> None:  # noqa: ANN401 - socketserver's
        self._timeout_s = timeout_s
        super().__init__(*connection)

    def setup(self) -> None:
        """Prepare the connection; its reads and writes end after the time-out."""
        super().setup()
        self.connection.settimeout(self._timeout_s)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Log nothing: a supervisor asks every few seconds."""


class MetricsServer(socketserver.ThreadingMixIn, WSGIServer):
    """A thread for each of a few clients; further ones are hung up on."""

    daemon_threads = True

    def __init__(
        self, address: tuple[str, int], handler: Callable[..., WSGIRequestHandler]
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._free = threading.BoundedSemaphore(_CLIENTS)
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind like WSGIServer, without asking the name service for our own name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()[:2]
        self.setup_environ()

    def process_request(self, request: Request, client_address: object) -> None:
        """Hang up on more clients than there is room for."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Request, client_address: object) -> None:
        """Answer one client, on a thread of its own, and make room for another."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up."""
