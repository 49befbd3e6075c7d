"""Serves one file by HTTP with Range, and cuts the connection where a test says."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class CuttingServer:
    """Serves ``content`` under any path inside the ``with`` block.

    Args:
        content: the file.
        cuts: after so many bytes of its body each answer is cut, in turn; then none is.

    Attributes:
        ranges: the Range headers that came, empty for none.
        status: what is answered to everybody, if not 200 or 206.
    """

    def __init__(self, content: bytes, cuts: list[int] | None = None) -> None:
        self.content = content
        self.cuts = list(cuts or [])
        self.ranges: list[str] = []
        self.sent = 0
        self.status = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("Range", "")
                served.ranges.append(asked)
                if served.status:
                    self.send_error(served.status)
                    return
                begin = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
                body = served.content[begin:]
                self.send_response(206 if asked else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                cut = served.cuts.pop(0) if served.cuts else len(body)
                self.wfile.write(body[:cut])
                served.sent += len(body[:cut])

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
