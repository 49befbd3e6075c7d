"""Nodes that take turns: who computes when, and what makes a node not compute."""

import time

import pytest

from devit_iot.bundle.reading import Bundle
from devit_iot.config.config import ImagesConfig, NodeConfig
from devit_iot.node.holding import MAX_REMEMBERED, REMEMBER_S, Holding
from devit_iot.node.turns import turn_s
from devit_iot.protocol.crop import CameraCrops, CropOrder, CropPlan
from devit_iot.protocol.request import request_id
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from tests.support.engines import Gate
from tests.support.fleets import image_file, wait_until
from tests.support.running import TOPICS, features, make_node, node_status, running

pytestmark = pytest.mark.usefixtures("prompt_status")

TOPIC = "cameras/door/image"
LONG_S = 10.0


def cascade(hold_s: float, delivery: str = "latest") -> tuple[ImagesConfig, ...]:
    return (
        ImagesConfig(
            "cameras/{camera}/image",
            delivery="every" if delivery == "every" else "latest",
            confidence=0.9,
            mode="cascade",
            hold_s=hold_s,
        ),
    )


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


def enough(broker: MemoryBroker, image: bytes) -> None:
    broker.publish(TOPICS.enough(0), request_id(TOPIC, image))


def test_images_of_which_crops_are_computed_wait_for_no_turn(
    broker: MemoryBroker, bundle: Bundle
) -> None:
    orders = CameraCrops(crops=(CropOrder(0, 0, 100, 100),))
    broker.publish(TOPICS.crops, CropPlan(cameras={"door": orders}).encode(), retain=True)
    with running(make_node(broker, bundle, 1, images=cascade(LONG_S))):
        wait_until(lambda: TOPICS.node_status("node-1") in broker.retained)
        enough(broker, image_file(1))
        broker.publish(TOPIC, image_file(1), qos=1)
        wait_until(lambda: len(features(broker)) == 2)
    assert node_status(broker, "node-1").spared == 0


@pytest.mark.parametrize("delivery", ["latest", "every"])
def test_an_image_that_has_its_label_is_not_computed(
    broker: MemoryBroker, bundle: Bundle, delivery: str
) -> None:
    transport = MemoryTransport(broker)
    images = cascade(LONG_S, delivery)
    with running(make_node(broker, bundle, 1, images=images, transport=transport)):
        wait_until(lambda: broker.retained)
        broker.publish(TOPIC, image_file(1), qos=1)
        assert len(transport.unacknowledged) == (delivery == "every")
        enough(broker, image_file(1))
        wait_until(lambda: node_status(broker, "node-1").spared == 1)
        assert not transport.unacknowledged
    assert not features(broker)


@pytest.mark.parametrize("delivery", ["latest", "every"])
def test_a_node_that_hears_nothing_computes_when_its_turn_comes(
    broker: MemoryBroker, bundle: Bundle, delivery: str
) -> None:
    with running(make_node(broker, bundle, 2, images=cascade(0.1, delivery))):
        wait_until(lambda: broker.retained)
        began = time.monotonic()
        for seed in range(3):
            broker.publish(TOPIC, image_file(seed), qos=1)
        wait_until(lambda: features(broker))
        assert time.monotonic() - began >= 0.2
        if delivery == "every":
            wait_until(lambda: len(features(broker)) == 3)
    assert node_status(broker, "node-2").spared == 0


def test_the_first_node_waits_for_nobody(broker: MemoryBroker, bundle: Bundle) -> None:
    with running(make_node(broker, bundle, 0, images=cascade(LONG_S))):
        wait_until(lambda: broker.retained)
        enough(broker, image_file(1))  # this was said about an image that looked the same
        broker.publish(TOPIC, image_file(1))
        wait_until(lambda: features(broker))


def test_the_label_may_be_out_before_the_image_is_here(
    broker: MemoryBroker, bundle: Bundle
) -> None:
    with running(make_node(broker, bundle, 1, images=cascade(LONG_S))):
        wait_until(lambda: broker.retained)
        enough(broker, image_file(1))
        broker.publish(TOPIC, image_file(1))
        wait_until(lambda: node_status(broker, "node-1").spared == 1)


def test_an_image_in_the_queue_is_spared_too(broker: MemoryBroker, bundle: Bundle) -> None:
    engine = Gate(bundle.part(1).spec.feature_dim)
    images = cascade(0.01, "every")
    with running(make_node(broker, bundle, 1, images=images, engine=engine)):
        wait_until(lambda: broker.retained)
        broker.publish(TOPIC, image_file(1), qos=1)
        broker.publish(TOPIC, image_file(2), qos=1)
        time.sleep(0.05)  # the first one is in the engine, the second one's turn has come
        enough(broker, image_file(2))
        engine.open.set()
        wait_until(lambda: node_status(broker, "node-1").spared == 1)
    assert len(features(broker)) == 1


@pytest.mark.parametrize("payload", [b"x" * 15, b"x" * 17])
def test_what_is_no_request_id_is_refused(
    broker: MemoryBroker, bundle: Bundle, payload: bytes
) -> None:
    with running(make_node(broker, bundle, 1, images=cascade(LONG_S))):
        wait_until(lambda: broker.retained)
        broker.publish(TOPICS.enough(0), payload)
        wait_until(lambda: node_status(broker, "node-1").refused == {"length": 1})


def test_what_the_broker_kept_from_before_is_refused(broker: MemoryBroker, bundle: Bundle) -> None:
    broker.publish(TOPICS.enough(0), request_id(TOPIC, image_file(1)), retain=True)
    with running(make_node(broker, bundle, 1, images=cascade(0.01))):
        wait_until(lambda: TOPICS.node_status("node-1") in broker.retained)
        wait_until(lambda: node_status(broker, "node-1").refused == {"retained": 1})
        broker.publish(TOPIC, image_file(1))
        wait_until(lambda: features(broker))


def test_what_finds_no_room_to_wait_is_computed_at_once(
    broker: MemoryBroker, bundle: Bundle
) -> None:
    config = NodeConfig(max_waiting_mib=1)
    with running(make_node(broker, bundle, 1, images=cascade(LONG_S), config=config)):
        wait_until(lambda: broker.retained)
        broker.publish(TOPIC, image_file(1, size=(700, 700)))
        wait_until(lambda: features(broker))


def test_each_part_has_its_turn() -> None:
    (entry,) = cascade(0.5)
    assert [turn_s(entry, part, 3, ()) for part in range(3)] == [0.0, 0.5, 1.0]
    assert [turn_s(entry, part, 3, (2, 0, 1)) for part in range(3)] == [0.5, 1.0, 0.0]
    stated = ImagesConfig("a", confidence=0.9, mode="cascade", hold_s=0.5, order=(1, 2, 0))
    assert [turn_s(stated, part, 3, (2, 0, 1)) for part in range(3)] == [1.0, 0.0, 0.5]
    assert turn_s(stated, 3, 4, ()) == 1.5  # an order of another bundle
    assert turn_s(ImagesConfig("a"), 2, 3, (2, 0, 1)) == 0.0


def test_what_is_enough_is_forgotten_again() -> None:
    holding: Holding[str] = Holding(100)
    holding.enough(b"a", 0.0)
    assert holding.is_enough(b"a", REMEMBER_S / 2)
    assert not holding.is_enough(b"a", REMEMBER_S)
    for number in range(MAX_REMEMBERED + 1):
        holding.enough(number.to_bytes(4, "big"), 1.0)
    assert not holding.is_enough((0).to_bytes(4, "big"), 1.0)
    assert holding.is_enough((1).to_bytes(4, "big"), 1.0)


def test_items_leave_when_they_are_due() -> None:
    holding: Holding[str] = Holding(100)
    assert holding.hold(b"a", "a", 60, 2.0)
    assert not holding.hold(b"a", "again", 1, 2.0)
    assert not holding.hold(b"b", "b", 41, 1.0)
    assert holding.hold(b"c", "c", 40, 1.0)
    assert holding.wait_s(0.0, 5.0) == 1.0
    assert holding.due(1.5) == ["c"]
    assert holding.enough(b"a", 1.5) == "a"
    assert holding.due(3.0) == []
    assert holding.wait_s(3.0, 5.0) == 5.0
    assert holding.hold(b"d", "d", 100, 4.0)
