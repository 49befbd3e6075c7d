"""A cable between two ends on this machine that can be cut and healed: neither end is told."""

import socket
import threading
from contextlib import suppress
from typing import Self

_HOST = "127.0.0.1"
_CHUNK = 65536


class Cable:
    """Passes TCP connections on to a port, inside the ``with`` block.

    While it is cut nothing passes, not the end of a connection either; what was under way passes
    when it has healed, as with packets that are sent again.

    Args:
        port: where to.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._whole = threading.Event()
        self._whole.set()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server((_HOST, 0))

    @property
    def port(self) -> int:
        """The port of this end."""
        number: int = self._listener.getsockname()[1]
        return number

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._whole.set()
        for each in (self._listener, *self._sockets):
            _close(each)

    def cut(self) -> None:
        """Let nothing pass."""
        self._whole.clear()

    def heal(self) -> None:
        """Let everything pass again."""
        self._whole.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._sockets.append(near)
                threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        self._whole.wait()
        try:
            far = socket.create_connection((_HOST, self._target))
        except OSError:
            _close(near)
            return
        self._sockets.append(far)
        threading.Thread(target=self._pump, args=(near, far), daemon=True).start()
        self._pump(far, near)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                self._whole.wait()
                target.sendall(data)
        self._whole.wait()
        _close(source)
        _close(target)


def _close(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
