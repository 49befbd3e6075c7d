"""A node of a fleet with a hub, over its life: it joins, serves, and may lose its part again."""

import threading
from collections.abc import Callable, Mapping

from devit_iot.node.computing import Served
from devit_iot.protocol.release import UpdateStatus
from devit_iot.service.durations import Durations
from devit_iot.service.status import StatusReporter
from devit_iot.updates.managed import Managed
from devit_iot.updates.updater import Serving

Build = Callable[[Serving[Served] | None], Managed[Served]]
"""Makes a service; what it is given to serve is loaded."""


class Membership:
    """Runs one service after the other: without a part, or with one.

    Args:
        build: makes the service that serves this; None: the one that waits for a part.
        serving: what to begin with.

    Attributes:
        restarts: whether the process is to be started again when :meth:`run` returns.
    """

    def __init__(self, build: Build, serving: Serving[Served] | None) -> None:
        self._build = build
        self._coming: Serving[Served] | None = None
        self._lock = threading.Lock()
        self._stopping = False
        self.restarts = False
        self._service = build(serving)

    @property
    def reporter(self) -> StatusReporter:
        """What publishes the status of the present service."""
        return self._service.reporter

    @property
    def durations(self) -> Mapping[str, Durations]:
        """Where the time of the present service went."""
        return self._service.durations

    @property
    def update(self) -> UpdateStatus:
        """How far the present service is with a release."""
        return self._service.update

    def run(self) -> None:
        """Serve until :meth:`stop`.

        Raises:
            BrokerError: the broker refused us for good.
        """
        while True:
            self._service.run()
            with self._lock:
                if self._stopping:
                    return
                coming, self._coming = self._coming, None
                self._service = self._build(coming)

    def go_on_with(self, serving: Serving[Served] | None) -> None:
        """End the present service and begin the next one; on any thread."""
        with self._lock:
            self._coming = serving
            self._service.stop()

    def restart(self) -> None:
        """End, to go on in a new process with the memory of this one; on any thread."""
        self.restarts = True
        self.stop()

    def stop(self) -> None:
        """Make :meth:`run` return soon."""
        with self._lock:
            self._stopping = True
            self._service.stop()
