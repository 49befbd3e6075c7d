"""A server that answers every connection with bytes of a test's choice, HTTP or not."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Self


class RawServer:
    """Serves inside a ``with`` block.

    Args:
        answer: gets the request's first line and the number of requests before it; gives all that
            is sent before the connection ends.
        context: makes it https.
    """

    def __init__(
        self, answer: Callable[[str, int], bytes], context: ssl.SSLContext | None = None
    ) -> None:
        self.requests: list[str] = []
        self._answer = answer
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        protocol = "http" if context is None else "https"
        self.url = f"{protocol}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # the listener's end
            while True:
                link, _ = self._listener.accept()
                with link, contextlib.suppress(OSError):
                    link.settimeout(5)
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
