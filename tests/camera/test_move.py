"""A camera that moves to another broker: each image goes to one of the two, and none is lost."""

import threading
from collections.abc import Callable, Iterator

import pytest

from devit_iot.camera.camera import Camera
from devit_iot.camera.source import CameraImage
from devit_iot.config.config import Delivery
from devit_iot.errors import BrokerError
from devit_iot.transport.memory import MemoryBroker, MemoryTransport

COUNT = 10


class Refused(MemoryTransport):
    """A broker that does not know us."""

    def start(
        self, *, on_ready: Callable[[], None], on_refused: Callable[[BrokerError], None]
    ) -> None:
        del on_ready
        on_refused(BrokerError("not authorized"))


class Unreachable(MemoryTransport):
    """A broker that is not there."""

    def start(
        self, *, on_ready: Callable[[], None], on_refused: Callable[[BrokerError], None]
    ) -> None:
        del on_ready, on_refused


class Shooting:
    """A camera that gives images one by one, as :meth:`allow` lets it."""

    def __init__(self, broker: MemoryBroker, delivery: Delivery = "every") -> None:
        self._room = threading.Semaphore(0)
        self.taken = threading.Semaphore(0)
        self.camera = Camera(
            self._images(),
            MemoryTransport(broker),
            topic="a/b",
            rate=float("inf"),
            delivery=delivery,
            on_published=lambda _image, _topic: None,
        )
        self.published = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def allow(self, count: int) -> None:
        """Let the camera take so many images, and wait until it has published all but the last."""
        for _ in range(count):
            self._room.release()
            assert self.taken.acquire(timeout=10)

    def end(self) -> int:
        """No more images; how many were published."""
        self._room.release()
        self._thread.join(10)
        return self.published

    def _images(self) -> Iterator[CameraImage]:
        for number in range(COUNT):
            self._room.acquire()
            self.taken.release()
            yield CameraImage(f"{number}", b"%d" % number)
        self._room.acquire()

    def _run(self) -> None:
        self.published = self.camera.run()


def payloads(broker: MemoryBroker) -> list[bytes]:
    return [payload for _, payload in broker.log]


@pytest.mark.parametrize("delivery", ["every", "latest"])
def test_each_image_goes_to_one_of_the_two(delivery: Delivery) -> None:
    one, two = MemoryBroker(), MemoryBroker()
    shooting = Shooting(one, delivery)
    shooting.allow(4)
    shooting.camera.move(MemoryTransport(two))
    shooting.allow(COUNT - 4)
    assert shooting.end() == COUNT
    assert sorted(payloads(one) + payloads(two)) == [b"%d" % number for number in range(COUNT)]
    assert len(payloads(one)) in {3, 4}  # the fourth may be under way


def test_the_one_before_is_left_when_it_has_everything() -> None:
    one, two = MemoryBroker(), MemoryBroker()
    one.acknowledging = False
    shooting = Shooting(one)
    shooting.allow(4)
    shooting.camera.move(MemoryTransport(two))
    shooting.allow(2)
    assert one.clients  # it has images that are not acknowledged
    one.acknowledging = True
    one.acknowledge_all()
    shooting.allow(4)
    assert shooting.end() == COUNT
    assert not one.clients


@pytest.mark.parametrize(
    ("kind", "problem"), [(Refused, "not authorized"), (Unreachable, "no answer")]
)
def test_it_stays_if_the_other_does_not_take_it(kind: type[MemoryTransport], problem: str) -> None:
    one, two = MemoryBroker(), MemoryBroker()
    shooting = Shooting(one)
    shooting.allow(4)
    with pytest.raises(BrokerError, match=problem):
        shooting.camera.move(kind(two), wait_s=0.05)
    shooting.allow(COUNT - 4)
    assert shooting.end() == COUNT
    assert len(payloads(one)) == COUNT
    assert payloads(two) == []


def test_there_and_back() -> None:
    one, two = MemoryBroker(), MemoryBroker()
    shooting = Shooting(one)
    for broker in (two, one, two):
        shooting.allow(2)
        shooting.camera.move(MemoryTransport(broker))
    shooting.allow(COUNT - 6)
    assert shooting.end() == COUNT
    assert len({*payloads(one), *payloads(two)}) == COUNT
