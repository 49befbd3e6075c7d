"""Delivery `every`: what cannot be sent costs its request, whose images and features are let go."""

from collections.abc import Callable

import pytest

from devit_iot.bundle.reading import Bundle
from devit_iot.errors import MessageError
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from tests.support.every import EVERY, TOPIC
from tests.support.features import PARTS, announce, make_feature
from tests.support.fleets import image_file, wait_until
from tests.support.running import (
    TOPICS,
    aggregator_status,
    features,
    labels,
    make_aggregator,
    make_node,
    node_status,
    running,
)

pytestmark = pytest.mark.usefixtures("prompt_status")


class Unwilling(MemoryTransport):
    """Sends neither features nor labels while it is ``unwilling``: it raises an error at once."""

    unwilling = True

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
        if self.unwilling and not topic.endswith("/status"):
            self._say_no(on_given_up)
        else:
            super().publish(topic, payload, qos=qos, retain=retain, on_puback=on_puback)

    def _say_no(self, on_given_up: Callable[[MessageError], None] | None) -> None:
        del on_given_up
        raise MessageError("packet_size", "the broker takes shorter ones")


class GivesUp(Unwilling):
    """Takes what must not be lost, then gives it up, as if the broker hung up for it."""

    def _say_no(self, on_given_up: Callable[[MessageError], None] | None) -> None:
        assert on_given_up is not None
        on_given_up(MessageError("hangs_up", "the broker hangs up for it"))


UNSENT = pytest.mark.parametrize(
    ("kind", "reason"), [(Unwilling, "packet_size"), (GivesUp, "hangs_up")]
)


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@UNSENT
def test_a_feature_that_is_not_sent_costs_its_image(
    broker: MemoryBroker, bundle: Bundle, kind: type[Unwilling], reason: str
) -> None:
    transport = kind(broker)
    with running(make_node(broker, bundle, 0, images=EVERY, transport=transport)):
        wait_until(lambda: broker.retained)
        broker.publish(TOPIC, image_file(1), qos=1)
        wait_until(lambda: node_status(broker).refused == {reason: 1})
        assert node_status(broker).unfinished == 0
        assert not transport.unacknowledged
        transport.unwilling = False
        broker.publish(TOPIC, image_file(2), qos=1)
        wait_until(lambda: features(broker))
    assert node_status(broker).lost == 0


@UNSENT
def test_a_label_that_is_not_sent_costs_its_features(
    broker: MemoryBroker, bundle: Bundle, kind: type[Unwilling], reason: str
) -> None:
    transport = kind(broker)
    with running(make_aggregator(broker, bundle, transport=transport)):
        for part in range(PARTS):
            announce(broker, bundle, part, "online")
        send(broker, bundle, request=1)
        wait_until(lambda: aggregator_status(broker).refused == {reason: 1})
        assert aggregator_status(broker).unfinished == 0
        assert not transport.unacknowledged
        transport.unwilling = False
        send(broker, bundle, request=2)
        wait_until(lambda: not transport.unacknowledged and labels(broker))
    (label,) = labels(broker)
    assert label.request_id == make_feature(bundle, 0, 2).request_id.hex()


def send(broker: MemoryBroker, bundle: Bundle, request: int) -> None:
    for part in range(PARTS):
        feature = make_feature(bundle, part, request)
        broker.publish(TOPICS.feature(0, f"node-{part}"), feature.encode(), qos=1)
