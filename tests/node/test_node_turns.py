"""Which image a node computes next, when it leaves one to the broker, and what it says of times."""

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from devit_iot.bundle.reading import Bundle
from devit_iot.config.config import ImagesConfig, NodeConfig
from devit_iot.protocol.feature import Feature
from devit_iot.protocol.request import preference, request_id
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from tests.support.engines import Gate, SlowEngine
from tests.support.every import EVERY, TOPIC
from tests.support.fleets import image_file, make_bundle, wait_until
from tests.support.running import TOPICS, features, listen, make_node, node_status, running

pytestmark = pytest.mark.usefixtures("prompt_status")


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A fleet of one part."""
    return make_bundle(tmp_path_factory.mktemp("single") / "bundle", parts=1)


def test_a_fleet_of_one_part_computes_the_newest_image(
    broker: MemoryBroker, single: Bundle
) -> None:
    engine = SlowEngine(single.part(0).spec.feature_dim)
    ids = [request_id(TOPIC, image_file(seed)) for seed in range(6)]
    assert preference(ids[-1]) < max(map(preference, ids[1:]))  # by that another one would stay
    with running(make_node(broker, single, 0, engine=engine)):
        wait_until(lambda: broker.retained)
        broker.publish(TOPIC, image_file(0))
        assert engine.begun.acquire(timeout=20)
        for seed in range(1, 6):
            broker.publish(TOPIC, image_file(seed))
        engine.go_on.release(2)
        wait_until(lambda: len(features(broker)) == 2)
    assert [feature.request_id for feature in features(broker)] == [ids[0], ids[-1]]


def test_a_payload_may_have_the_largest_size_and_no_byte_more(
    broker: MemoryBroker, bundle: Bundle
) -> None:
    config = NodeConfig(max_payload_bytes=len(image_file(1)))
    with running(make_node(broker, bundle, 0, config=config)):
        wait_until(lambda: broker.retained)
        broker.publish("cameras/wide/image", image_file(1) + b"\0")
        broker.publish(TOPIC, image_file(1))
        wait_until(lambda: features(broker) and node_status(broker).published)
    assert [feature.camera for feature in features(broker)] == ["door"]
    assert node_status(broker).refused == {"too_large": 1}


def test_cameras_of_every_take_turns(broker: MemoryBroker, bundle: Bundle) -> None:
    engine = SlowEngine(bundle.part(0).spec.feature_dim)
    with running(make_node(broker, bundle, 0, images=EVERY, engine=engine)):
        wait_until(lambda: broker.retained)
        broker.publish(TOPIC, image_file(0), qos=1)
        assert engine.begun.acquire(timeout=20)
        for seed in (1, 2):
            broker.publish(TOPIC, image_file(seed), qos=1)
        broker.publish("cameras/yard/image", image_file(3), qos=1)
        engine.go_on.release(4)
        wait_until(lambda: len(features(broker)) == 4)
    assert [feature.camera for feature in features(broker)] == ["door", "door", "yard", "door"]


class Redelivered(MemoryTransport):
    """Remembers how many features there were each time that it connected again."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self.after: list[int] = []
        self._at = broker

    def redeliver(self) -> None:
        self.after.append(len(features(self._at)))
        super().redeliver()


def test_what_was_left_to_the_broker_is_asked_for_when_all_else_is_done(
    broker: MemoryBroker, bundle: Bundle
) -> None:
    """Each time costs a connection. There is room for two at least, and a third for each turn."""
    transport = Redelivered(broker)
    engine = Gate(bundle.part(0).spec.feature_dim)
    config = NodeConfig(max_waiting_mib=1)
    node = make_node(
        broker, bundle, 0, images=EVERY, engine=engine, transport=transport, config=config
    )
    with running(node):
        wait_until(lambda: broker.retained)
        for seed in range(4):
            broker.publish(TOPIC, image_file(seed).ljust(400_000, b"\0"), qos=1)
        engine.open.set()
        wait_until(lambda: len(features(broker)) == 4 and not transport.unacknowledged)
    assert transport.after in ([2], [3])


def test_a_rate_counts_what_it_keeps_out_of_every(broker: MemoryBroker, bundle: Bundle) -> None:
    """What is within the rate is acknowledged with its feature only, what is over it at once."""
    images = (ImagesConfig("cameras/{camera}/image", delivery="every", max_rate=0.01),)
    transport = MemoryTransport(broker)
    with running(make_node(broker, bundle, 0, images=images, transport=transport)):
        wait_until(lambda: broker.retained)
        broker.acknowledging = False
        for seed in range(5):
            broker.publish(TOPIC, image_file(seed), qos=1)
        wait_until(lambda: features(broker) and node_status(broker).dropped == 4)
        assert len(transport.unacknowledged) == 1
        broker.acknowledge_all()
        wait_until(lambda: not transport.unacknowledged)
        wait_until(lambda: node_status(broker).unfinished == 0)
    assert node_status(broker).drops == {"door": {"rate": 4}}
    assert len(features(broker)) == 1


def test_a_feature_travels_as_its_image_did(broker: MemoryBroker, bundle: Bundle) -> None:
    heard = listen(broker, TOPICS.features(0))
    with running(make_node(broker, bundle, 0, images=EVERY)):
        wait_until(lambda: broker.retained)
        for qos in (0, 1):
            broker.publish(TOPIC, image_file(qos), qos=qos)
        wait_until(lambda: len(heard) == 2)
    for message in heard:
        seed = int(message.delivery is not None)
        assert Feature.decode(message.payload).request_id == request_id(TOPIC, image_file(seed))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Slow(SlowEngine):
    """Takes a tenth of a second for each inference at least."""

    def features(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        feature = super().features(image)
        time.sleep(0.1)
        return feature


def test_a_feature_says_when_its_image_came_and_where_its_time_went(
    broker: MemoryBroker, bundle: Bundle
) -> None:
    """The second image waits for the first one's inference, and decoding takes no such time."""
    engine = Slow(bundle.part(0).spec.feature_dim)
    begin = time.monotonic()
    times = []
    with running(make_node(broker, bundle, 0, engine=engine)):
        wait_until(lambda: broker.retained)
        for camera in ("door", "yard"):
            before = now_ms()
            broker.publish(f"cameras/{camera}/image", image_file(1))
            times.append((before, now_ms()))
        engine.go_on.release(2)
        wait_until(lambda: len(features(broker)) == 2)
    elapsed_us = 1e6 * (time.monotonic() - begin)
    for feature, (before, after) in zip(features(broker), times, strict=True):
        assert before <= feature.received_ms <= after
        assert feature.timing.compute_us >= 100_000
        assert feature.timing.total_us <= elapsed_us
    assert features(broker)[1].timing.wait_us >= 100_000
    assert node_status(broker).compute_ms >= 100
