"""A server that answers every connection with bytes of a test's choice, HTTP or not."""

import socket
import ssl
from collections.abc import Callable

from tests.support.listening import Listening


class RawServer(Listening):
    """Serves inside a ``with`` block.

    Args:
        answer: gets the request's first line and the number of requests before it; gives all that
            is sent before the connection ends.
        context: makes it https.
    """

    def __init__(
        self, answer: Callable[[str, int], bytes], context: ssl.SSLContext | None = None
    ) -> None:
        super().__init__()
        self.requests: list[str] = []
        self._answer = answer
        self._context = context
        protocol = "http" if context is None else "https"
        self.url = f"{protocol}://127.0.0.1:{self.port}"

    def _talk(self, link: socket.socket) -> None:
        if self._context is None:
            self._reply(link)
        else:
            with self._context.wrap_socket(link, server_side=True) as tls:
                self._reply(tls)

    def _reply(self, link: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            piece = link.recv(4096)
            if not piece:
                return
            request += piece
        self.requests.append(request.partition(b"\r\n")[0].decode())
        link.sendall(self._answer(self.requests[-1], len(self.requests) - 1))
