"""Notices a loop that hangs, and tells systemd of one that does not."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_INTERVAL_S = 1.0


class Watchdog:
    """Watches from a thread of its own that :meth:`beat` is called often enough.

    Args:
        limit_s: the longest time between two beats.
        on_hang: called once, on that thread, when it is exceeded.
        notify: gets sd_notify's words: READY=1 at the start, WATCHDOG=1 while all is well.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        limit_s: float,
        on_hang: Callable[[], None],
        *,
        notify: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit_s = limit_s
        self._on_hang = on_hang
        self._notify = notify or sd_notify
        self._clock = clock
        self._beaten = clock()
        self._stopping = threading.Event()

    def beat(self) -> None:
        """The loop has begun another turn."""
        self._beaten = self._clock()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch inside the block."""
        thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self.beat()
        self._notify("READY=1")
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            thread.join()

    def _run(self) -> None:
        interval = min(_INTERVAL_S, self._limit_s / 4)
        while not self._stopping.wait(interval):
            if self._clock() - self._beaten > self._limit_s:
                self._on_hang()
                return
            self._notify("WATCHDOG=1")


def sd_notify(state: str) -> None:
    """Tell the service manager, if one listens; systemd's function without its library."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.connect(address)
        link.send(state.encode())
