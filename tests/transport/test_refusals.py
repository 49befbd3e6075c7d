"""A broker that refuses a client for good ends it, with the broker's reason."""

import threading
from collections.abc import Callable
from functools import partial

import pytest

from devit_iot.bundle.reading import Bundle
from devit_iot.camera.camera import Camera
from devit_iot.camera.source import CameraImage
from devit_iot.errors import BrokerError
from devit_iot.homeassistant import remove
from devit_iot.monitor.watch import Watch
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from devit_iot.transport.refusals import Refusal
from tests.support.fleets import wait_until
from tests.support.running import make_aggregator, make_node


def test_nothing_is_raised_before_a_refusal_comes() -> None:
    refusal = Refusal()
    refusal.check()
    assert not refusal.came


def test_a_refusal_is_known_when_whoever_waits_for_it_wakes() -> None:
    woken = threading.Event()
    refusal = Refusal(woken.set)
    network = threading.Thread(target=refusal, args=(BrokerError("wrong password"),))
    network.start()
    assert woken.wait(10)
    network.join()
    assert refusal.came
    for _ in range(2):
        with pytest.raises(BrokerError, match="wrong password"):
            refusal.check()


class RefusingTransport(MemoryTransport):
    """Connects, and is refused on another thread when it was asked to."""

    def start(
        self, *, on_ready: Callable[[], None], on_refused: Callable[[BrokerError], None]
    ) -> None:
        super().start(on_ready=on_ready, on_refused=on_refused)
        self.refuse = partial(on_refused, BrokerError("banned"))


@pytest.mark.parametrize("kind", ["node", "aggregator", "camera"])
def test_a_service_that_is_refused_ends_and_says_why(bundle: Bundle, kind: str) -> None:
    """The refusal may come in the middle of its work: a broker may change its access list."""
    broker = MemoryBroker()
    transport = RefusingTransport(broker)
    shots = iter([CameraImage("one", b"1"), CameraImage("two", b"2")])
    makers: dict[str, Callable[[], Callable[[], object]]] = {
        "node": lambda: make_node(broker, bundle, 0, transport=transport).run,
        "aggregator": lambda: make_aggregator(broker, bundle, transport=transport).run,
        "camera": lambda: Camera(shots, transport, topic="a", rate=1e-3).run,
    }
    run = makers[kind]()

    def refuse_later() -> None:
        wait_until(lambda: broker.log)
        transport.refuse()

    network = threading.Thread(target=refuse_later)
    network.start()
    with pytest.raises(BrokerError, match="banned"):
        run()
    network.join()
    assert not transport.connected


class RefusedTransport(MemoryTransport):
    """Is refused instead of being connected."""

    def start(
        self, *, on_ready: Callable[[], None], on_refused: Callable[[BrokerError], None]
    ) -> None:
        del on_ready
        on_refused(BrokerError("banned"))


def test_a_client_that_only_looks_on_is_refused_at_once() -> None:
    transport = RefusedTransport(MemoryBroker())
    with Watch(transport, ["#"], lambda _: None) as watch:
        with pytest.raises(BrokerError, match="banned"):
            watch.wait_ready(60)
        with pytest.raises(BrokerError, match="banned"):
            watch.check()


def test_a_command_that_deletes_is_refused_at_once() -> None:
    with pytest.raises(BrokerError, match="banned"):
        remove.Removal(RefusedTransport(MemoryBroker()), {"#": lambda _: True}).run()
