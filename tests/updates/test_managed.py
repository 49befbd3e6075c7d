"""A service with its updater: both end together, and a bundle that hangs ends the process."""

import threading
from pathlib import Path

from devit_iot.protocol.status import NodeStatus, State
from devit_iot.service.durations import Durations
from devit_iot.service.status import StatusReporter
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from devit_iot.updates.fetch import Fetcher
from devit_iot.updates.installer import Installer
from devit_iot.updates.managed import Hang, Managed
from devit_iot.updates.store import Held, Store
from devit_iot.updates.updater import Member, Updater
from tests.support.fleets import wait_until


class Service:
    """Runs until it is told to stop."""

    def __init__(self) -> None:
        self.durations: dict[str, Durations] = {}
        self.reporter = StatusReporter(MemoryTransport(MemoryBroker()), "status", self._status)
        self._stopping = threading.Event()

    def run(self) -> None:
        self._stopping.wait(20)

    def stop(self) -> None:
        self._stopping.set()

    def _status(self, state: State, age_s: float) -> NodeStatus:
        del age_s
        return NodeStatus(state=state, node="x", part=0, parts=1, fingerprint="")


class HangingUpdater(Updater[str]):
    """Has been loading for as long as a test says."""

    loading = 0.0

    @property
    def loading_s(self) -> float:
        return self.loading


def load(_folder: Path, _held: Held) -> str:
    return ""


def test_a_bundle_that_never_ends_loading_ends_the_process(tmp_path: Path) -> None:
    store = Store(tmp_path)
    member = Member("x", load, lambda _: None, lambda: None)
    updater = HangingUpdater(member, store, Installer(store, Fetcher(None)), lambda _: None, None)
    ended = threading.Event()
    service = Service()
    managed = Managed(service, updater, Hang(1.0, ended.set))
    thread = threading.Thread(target=managed.run)
    thread.start()
    updater.loading = 0.9
    assert not ended.wait(0.6)
    updater.loading = 1.1
    wait_until(ended.is_set)
    managed.stop()
    thread.join(10)
    assert not thread.is_alive()
