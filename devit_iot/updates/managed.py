"""A service together with its updater, which runs on a thread beside it."""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, Protocol, TypeVar

from devit_iot.protocol.release import UpdateStatus
from devit_iot.service.durations import Durations
from devit_iot.service.status import StatusReporter
from devit_iot.updates.updater import Updater

T = TypeVar("T")

logger = logging.getLogger(__name__)

_END_S = 5.0
_WATCH_S = 1.0


class Service(Protocol):
    """A node or an aggregator."""

    reporter: StatusReporter
    durations: dict[str, Durations]

    def run(self) -> None:
        """Serve until :meth:`stop`."""

    def stop(self) -> None:
        """Make :meth:`run` return soon."""


class Hang(NamedTuple):
    """What to do about a bundle that never ends loading.

    Attributes:
        limit_s: how long it may take.
        exit_process: ends the process, for the service manager to start it again.
    """

    limit_s: float
    exit_process: Callable[[], None]


class Managed(Generic[T]):
    """Runs ``service``, and ``updater`` as long as it runs.

    A bundle that never ends loading would hold up every later release. Nothing can interrupt it, so
    the process is ended; the store counts that, and after a few times the release is given up.

    Args:
        service: a node or an aggregator.
        updater: its own.
        hang: what to do about a bundle that hangs.
    """

    def __init__(self, service: Service, updater: Updater[T], hang: Hang) -> None:
        self._service = service
        self._updater = updater
        self._hang = hang
        self._ended = threading.Event()

    @property
    def reporter(self) -> StatusReporter:
        """What publishes the service's status."""
        return self._service.reporter

    @property
    def durations(self) -> Mapping[str, Durations]:
        """Where the service's time went."""
        return self._service.durations

    @property
    def update(self) -> UpdateStatus:
        """How far this member is with a release."""
        return self._updater.status

    def run(self) -> None:
        """Serve until :meth:`stop`.

        Raises:
            BrokerError: the broker refused the service for good.
        """
        # A daemon: loading a bundle cannot be interrupted, and must not hold up the end.
        thread = threading.Thread(target=self._updater.run, name="updates", daemon=True)
        thread.start()
        watch = threading.Thread(target=self._watch, name="updates watch", daemon=True)
        watch.start()
        try:
            self._service.run()
        finally:
            self._ended.set()
            self._updater.stop()
            thread.join(_END_S)
            watch.join()

    def stop(self) -> None:
        """Make :meth:`run` return soon."""
        self._service.stop()

    def _watch(self) -> None:
        while not self._ended.wait(min(_WATCH_S, self._hang.limit_s / 4)):
            if self._updater.loading_s > self._hang.limit_s:
                logger.critical(
                    "a bundle has been loading for %g s; ending the process", self._hang.limit_s
                )
                self._service.reporter.goodbye()
                self._hang.exit_process()
                return
