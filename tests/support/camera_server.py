"""A network camera: a stream of JPEG files, and a still image, over HTTP."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

BOUNDARY = "frame"


class CameraServer:
    """Serves ``/stream`` and ``/still`` inside a ``with`` block, on the same port each time.

    Args:
        images: gives the next image file.
        password: what Basic authentication must send, or empty.
    """

    def __init__(self, images: Callable[[], bytes], password: str = "") -> None:
        self.requests = 0
        self.kind = "image/jpeg"
        self._images = images
        self._password = password
        self._port = 0
        self._ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera.requests += 1
                if camera._password and camera._password not in (
                    self.headers["Authorization"] or ""
                ):
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                    self.end_headers()
                elif self.path == "/still":
                    self._still()
                elif self.path == "/stream":
                    self._stream()
                else:
                    self.send_error(404)

            def _still(self) -> None:
                image = camera._images()
                self.send_response(200)
                self.send_header("Content-Type", camera.kind)
                self.send_header("Content-Length", str(len(image)))
                self.end_headers()
                self.wfile.write(image)

            def _stream(self) -> None:
                self.send_response(200)
                kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
                self.send_header("Content-Type", kind)
                self.end_headers()
                try:
                    while not camera._ended.wait(0.02):
                        image = camera._images()
                        head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n"
                        head += f"Content-Length: {len(image)}\r\n\r\n"
                        self.wfile.write(head.encode() + image + b"\r\n")
                except OSError:  # nobody looks any more
                    pass

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._ended.clear()
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
