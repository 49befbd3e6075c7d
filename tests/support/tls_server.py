"""A server that takes any number of TLS connections and keeps what it is told."""

import contextlib
import socket
import ssl
import threading
from pathlib import Path
from typing import Self

from devit_iot.fleet.authority import Pair


class TlsServer:
    """Shows ``pair`` to whoever connects.

    Attributes:
        port: where it listens.
        told: what its clients said after the handshake.
    """

    def __init__(self, folder: Path, pair: Pair) -> None:
        self._folder = folder
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for name, content in zip(("server.crt", "server.key"), pair, strict=True):
            (folder / name).write_bytes(content)
        self._context.load_cert_chain(folder / "server.crt", folder / "server.key")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.told = b""
        self._thread = threading.Thread(target=self._serve)

    def want(self, root: Pair, version: ssl.TLSVersion) -> None:
        """Ask clients for a certificate of ``root``."""
        (self._folder / "root.crt").write_bytes(root.certificate)
        self._context.load_verify_locations(self._folder / "root.crt")
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.maximum_version = version

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
                with link, contextlib.suppress(OSError):  # a handshake that failed, as it should
                    link.settimeout(5)
                    with self._context.wrap_socket(link, server_side=True) as tls:
                        self.told += tls.recv(4096)
