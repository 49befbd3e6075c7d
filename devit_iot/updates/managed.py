"""A service together with its updater, which runs on a thread beside it."""

import threading
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

from devit_iot.service.durations import Durations
from devit_iot.service.status import StatusReporter
from devit_iot.updates.updater import Updater

T = TypeVar("T")

_END_S = 5.0


class Service(Protocol):
    """A node or an aggregator."""

    reporter: StatusReporter
    durations: dict[str, Durations]

    def run(self) -> None:
        """Serve until :meth:`stop`."""

    def stop(self) -> None:
        """Make :meth:`run` return soon."""


class Managed(Generic[T]):
    """Runs ``service``, and ``updater`` as long as it runs."""

    def __init__(self, service: Service, updater: Updater[T]) -> None:
        self._service = service
        self._updater = updater

    @property
    def reporter(self) -> StatusReporter:
        """Of the service's status."""
        return self._service.reporter

    @property
    def durations(self) -> Mapping[str, Durations]:
        """Where the service's time went."""
        return self._service.durations

    def run(self) -> None:
        """Serve until :meth:`stop`.

        Raises:
            BrokerError: the broker refused the service for good.
        """
        # A daemon: loading a bundle cannot be interrupted, and must not hold up the end.
        thread = threading.Thread(target=self._updater.run, name="updates", daemon=True)
        thread.start()
        try:
            self._service.run()
        finally:
            self._updater.stop()
            thread.join(_END_S)

    def stop(self) -> None:
        """Make :meth:`run` return soon."""
        self._service.stop()
