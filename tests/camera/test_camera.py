"""What becomes of images that the broker does not take, and of sources that give none."""

import logging
from collections.abc import Callable, Iterator

import pytest

from devit_iot.camera.camera import MAX_UNACKNOWLEDGED, Camera
from devit_iot.camera.source import CameraImage
from devit_iot.config.config import Delivery
from devit_iot.errors import BrokerError, DataError, MessageError
from devit_iot.transport.memory import MemoryBroker, MemoryTransport

LIMIT, POISON = 100, 66


class SmallTransport(MemoryTransport):
    """A broker that takes 100 bytes, and hangs up for messages of 66."""

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 0,
        retain: bool = False,
        on_puback: Callable[[], None] | None = None,
        on_given_up: Callable[[MessageError], None] | None = None,
    ) -> None:
        if len(payload) > LIMIT:
            raise MessageError("packet_size", f"message of {len(payload)} bytes")
        if len(payload) == POISON and on_given_up is not None:
            on_given_up(MessageError("hangs_up", "the broker hangs up for it"))
            return
        super().publish(topic, payload, qos=qos, retain=retain, on_puback=on_puback)


def images(*sizes: int) -> Iterator[CameraImage]:
    return (CameraImage(f"{number}.jpg", bytes(size)) for number, size in enumerate(sizes))


def shoot(images: Iterator[CameraImage], delivery: Delivery = "latest") -> tuple[int, list[int]]:
    """How many were published, and the sizes of those that arrived."""
    broker = MemoryBroker()
    camera = Camera(
        images, SmallTransport(broker), topic="a/b", rate=float("inf"), delivery=delivery
    )
    return camera.run(), [len(payload) for _, payload in broker.log]


def test_an_image_that_is_too_large_costs_itself(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert shoot(images(10, 101, 20, 102, 30)) == (3, [10, 20, 30])
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "1.jpg: left out: message of 101 bytes; --size makes images smaller"
    assert lines[1].startswith("3.jpg: left out")
    assert lines[2] == ("2 of 5 images were left out; --size makes images smaller")


def test_of_every_it_is_missing_at_the_end() -> None:
    words = r"1 of 3 images were left out, 2 acknowledged; --size"
    with pytest.raises(BrokerError, match=words):
        shoot(images(10, 101, 20), "every")


def test_an_image_that_the_broker_hangs_up_for_costs_itself() -> None:
    sizes = [POISON] * (2 * MAX_UNACKNOWLEDGED) + [10, 20]
    with pytest.raises(BrokerError, match="40 of 42 images were left out, 2 acknowledged"):
        shoot(images(*sizes), "every")


def test_images_that_are_too_large_take_no_room() -> None:
    """Each image under way holds a place in the window until it is acknowledged."""
    sizes = [101] * (2 * MAX_UNACKNOWLEDGED) + [10]
    with pytest.raises(BrokerError, match="1 acknowledged"):
        shoot(images(*sizes), "every")


@pytest.mark.parametrize("delivery", ["latest", "every"])
def test_if_none_fits_it_is_an_error(delivery: Delivery) -> None:
    with pytest.raises(BrokerError, match="2 of 2 images were left out"):
        shoot(images(101, 102), delivery)


@pytest.mark.parametrize("delivery", ["latest", "every"])
def test_a_source_without_images_is_an_error(delivery: Delivery) -> None:
    with pytest.raises(DataError, match="no image to publish"):
        shoot(iter(()), delivery)


def test_who_is_stopped_before_the_first_image_has_done_nothing_wrong() -> None:
    broker = MemoryBroker()
    camera = Camera(images(1), MemoryTransport(broker), topic="a/b", rate=1.0)
    camera.stop()
    assert camera.run() == 0
