"""A server on the loopback interface that deals with one connection after the other."""

import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from typing import Self


class Listening(ABC):
    """Serves inside a ``with`` block.

    Attributes:
        port: where it listens.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._thread.join()
        self._listener.close()

    @abstractmethod
    def _talk(self, link: socket.socket) -> None:
        """Deal with one connection; an OSError ends that one alone."""

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # the listener's end
            while True:
                link, _ = self._listener.accept()
                with link, contextlib.suppress(OSError):
                    link.settimeout(5)
                    self._talk(link)
