"""A server that takes any number of TLS connections and keeps what it is told."""

import socket
import ssl
from pathlib import Path

from devit_iot.fleet.authority import Pair
from tests.support.listening import Listening


class TlsServer(Listening):
    """Shows ``pair`` to whoever connects.

    Attributes:
        told: what its clients said after the handshake.
    """

    def __init__(self, folder: Path, pair: Pair) -> None:
        super().__init__()
        self._folder = folder
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for name, content in zip(("server.crt", "server.key"), pair, strict=True):
            (folder / name).write_bytes(content)
        self._context.load_cert_chain(folder / "server.crt", folder / "server.key")
        self.told = b""

    def want(self, root: Pair, version: ssl.TLSVersion) -> None:
        """Ask clients for a certificate of ``root``."""
        (self._folder / "root.crt").write_bytes(root.certificate)
        self._context.load_verify_locations(self._folder / "root.crt")
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.maximum_version = version

    def _talk(self, link: socket.socket) -> None:
        with self._context.wrap_socket(link, server_side=True) as tls:  # it may fail, as it should
            self.told += tls.recv(4096)
