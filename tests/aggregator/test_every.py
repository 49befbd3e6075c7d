"""Delivery `every` over the in-process broker: what is acknowledged, and only then."""

import threading
import time

import pytest

from devit_iot.aggregator import aggregator as aggregator_module
from devit_iot.bundle.reading import Bundle
from devit_iot.config.config import NodeConfig
from devit_iot.protocol.label import Label
from devit_iot.protocol.status import NodeStatus
from devit_iot.transport.base import Message
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from tests.support.engines import BrokenEngine, Gate
from tests.support.every import EVERY, TOPIC
from tests.support.features import PARTS, announce, make_feature
from tests.support.fleets import huge_jpeg, image_file, wait_until
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


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


def test_an_image_is_acknowledged_with_its_feature(broker: MemoryBroker, bundle: Bundle) -> None:
    transport = MemoryTransport(broker)
    with running(make_node(broker, bundle, 0, images=EVERY, transport=transport)):
        wait_until(lambda: broker.retained)
        broker.acknowledging = False
        broker.publish(TOPIC, image_file(1), qos=1)
        wait_until(lambda: features(broker))
        assert len(transport.unacknowledged) == 1
        wait_until(lambda: node_status(broker).unfinished == 1)
        broker.acknowledge_all()
        assert not transport.unacknowledged
        wait_until(lambda: node_status(broker).unfinished == 0)


def test_no_image_is_replaced_by_a_newer_one(broker: MemoryBroker, bundle: Bundle) -> None:
    engine = Gate(bundle.part(0).spec.feature_dim)
    with running(make_node(broker, bundle, 0, images=EVERY, engine=engine)):
        wait_until(lambda: broker.retained)
        for seed in range(20):
            broker.publish(TOPIC, image_file(seed), qos=1)
        engine.open.set()
        wait_until(lambda: len(features(broker)) == 20)
    assert node_status(broker).dropped == 0
    assert len({feature.request_id for feature in features(broker)}) == 20


def test_an_image_of_every_is_computed_however_old_it_is(
    broker: MemoryBroker, bundle: Bundle
) -> None:
    """One at QoS 0 counts as `latest`, so beside the others it is too old."""
    engine = Gate(bundle.part(0).spec.feature_dim)
    config = NodeConfig(max_age_s=0.05)
    with running(make_node(broker, bundle, 0, images=EVERY, engine=engine, config=config)):
        wait_until(lambda: broker.retained)
        for seed in range(3):
            broker.publish(TOPIC, image_file(seed), qos=1)
        broker.publish("cameras/yard/image", image_file(3))
        time.sleep(0.1)
        engine.open.set()
        wait_until(lambda: len(features(broker)) == 3 and node_status(broker).dropped)
    assert {feature.camera for feature in features(broker)} == {"door"}
    assert node_status(broker).drops == {"yard": {"age": 1}}


def test_an_image_that_comes_again_is_not_computed_twice(
    broker: MemoryBroker, bundle: Bundle
) -> None:
    transport = MemoryTransport(broker)
    engine = Gate(bundle.part(0).spec.feature_dim)
    with running(make_node(broker, bundle, 0, images=EVERY, engine=engine, transport=transport)):
        wait_until(lambda: broker.retained)
        for seed in range(3):  # one is being computed, two wait
            broker.publish(TOPIC, image_file(seed), qos=1)
        transport.redeliver()
        engine.open.set()
        wait_until(lambda: not transport.unacknowledged)
        wait_until(lambda: node_status(broker).redelivered == 3)
    assert len(features(broker)) == 3


def test_after_a_restart_the_work_goes_on(broker: MemoryBroker, bundle: Bundle) -> None:
    transport = MemoryTransport(broker)
    broker.acknowledging = False
    with running(make_node(broker, bundle, 0, images=EVERY, transport=transport)):
        wait_until(lambda: broker.retained)
        broker.publish(TOPIC, image_file(1), qos=1)
        wait_until(lambda: features(broker))
    broker.acknowledging = True
    again = MemoryTransport(broker)
    node = make_node(broker, bundle, 0, images=EVERY, transport=again)
    again.unacknowledged = transport.unacknowledged  # its session
    with running(node):
        again.redeliver()
        wait_until(lambda: not again.unacknowledged)
    first, second = features(broker)
    assert first.request_id == second.request_id


@pytest.mark.parametrize("payload", [b" ", b"no image", huge_jpeg(), image_file(1)[:200]])
def test_a_bad_image_does_not_come_again(
    broker: MemoryBroker, bundle: Bundle, payload: bytes
) -> None:
    transport = MemoryTransport(broker)
    with running(make_node(broker, bundle, 0, images=EVERY, transport=transport)):
        wait_until(lambda: broker.retained)
        broker.publish(TOPIC, payload, qos=1)
        wait_until(lambda: sum(node_status(broker).refused.values()) == 1)
        assert not transport.unacknowledged
        assert node_status(broker).unfinished == 0


def test_a_deleted_image_does_not_come_again(broker: MemoryBroker, bundle: Bundle) -> None:
    transport = MemoryTransport(broker)
    with running(make_node(broker, bundle, 0, images=EVERY, transport=transport)):
        wait_until(lambda: broker.retained)
        broker.publish(TOPIC, b"", qos=1)
        broker.publish(TOPIC, image_file(1), qos=1)
        wait_until(lambda: features(broker))
        wait_until(lambda: not transport.unacknowledged)
    assert node_status(broker).refused == {}


def test_replicas_acknowledge_what_is_not_theirs(broker: MemoryBroker, bundle: Bundle) -> None:
    transport = MemoryTransport(broker)
    config = NodeConfig(replica="0/2")
    with running(make_node(broker, bundle, 0, images=EVERY, config=config, transport=transport)):
        wait_until(lambda: broker.retained)
        for seed in range(12):
            broker.publish(TOPIC, image_file(seed), qos=1)
        wait_until(lambda: not transport.unacknowledged)
    assert 0 < len(features(broker)) < 12


def test_what_does_not_fit_stays_with_the_broker(broker: MemoryBroker, bundle: Bundle) -> None:
    transport = MemoryTransport(broker)
    engine = Gate(bundle.part(0).spec.feature_dim)
    large = [image_file(seed).ljust(400_000, b"\0") for seed in range(5)]
    with running(
        make_node(
            broker,
            bundle,
            0,
            images=EVERY,
            engine=engine,
            transport=transport,
            config=NodeConfig(max_waiting_mib=1),
        )
    ):
        wait_until(lambda: broker.retained)
        for payload in large:
            broker.publish(TOPIC, payload, qos=1)
        assert len(transport.unacknowledged) == 5
        engine.open.set()
        wait_until(lambda: not transport.unacknowledged)
        wait_until(lambda: node_status(broker).deferred >= 2)
    assert len({feature.request_id for feature in features(broker)}) == 5


def test_an_image_at_qos_0_cannot_be_promised(
    broker: MemoryBroker, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    with running(make_node(broker, bundle, 0, images=EVERY)):
        wait_until(lambda: broker.retained)
        for seed in range(2):
            broker.publish(f"cameras/{seed}/image", image_file(seed))
        wait_until(lambda: len(features(broker)) == 2)
    assert len([r for r in caplog.records if "QoS 0" in r.getMessage()]) == 1


def test_an_image_of_latest_at_qos_0_is_nothing_to_warn_of(
    broker: MemoryBroker, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    with running(make_node(broker, bundle, 0)):
        wait_until(lambda: broker.retained)
        broker.publish(TOPIC, image_file(1))
        wait_until(lambda: features(broker))
    assert not [record for record in caplog.records if "QoS 0" in record.getMessage()]


def test_an_image_that_the_broker_kept_is_let_go(broker: MemoryBroker, bundle: Bundle) -> None:
    broker.retained[TOPIC] = image_file(1)
    transport = MemoryTransport(broker)
    with running(make_node(broker, bundle, 0, images=EVERY, transport=transport)):
        wait_until(lambda: TOPICS.node_status("node-0") in broker.retained)
        assert not transport.unacknowledged
        broker.publish(TOPIC, image_file(2), qos=1)
        wait_until(lambda: not transport.unacknowledged and features(broker))
    assert len(features(broker)) == 1


def test_an_image_that_meets_a_bug_does_not_come_again(
    broker: MemoryBroker, bundle: Bundle
) -> None:
    transport = MemoryTransport(broker)
    engine = BrokenEngine(bundle.part(0).spec.feature_dim)
    with running(make_node(broker, bundle, 0, images=EVERY, engine=engine, transport=transport)):
        wait_until(lambda: broker.retained)
        for seed in range(3):  # a bug, NaN, a feature
            broker.publish(TOPIC, image_file(seed), qos=1)
        wait_until(lambda: node_status(broker).published == 1)
        wait_until(lambda: not transport.unacknowledged)
        wait_until(lambda: node_status(broker).unfinished == 0)
    assert (node_status(broker).lost, node_status(broker).refused) == (1, {"not_finite": 1})


def test_an_inference_that_hangs_ends_the_node(broker: MemoryBroker, bundle: Bundle) -> None:
    transport = MemoryTransport(broker)
    engine = Gate(bundle.part(0).spec.feature_dim)
    left: list[Message] = []
    died = threading.Event()
    statuses: list[NodeStatus] = []

    def die() -> None:  # the real one ends the process here
        left.extend(transport.unacknowledged.values())
        statuses.append(node_status(broker))
        died.set()
        engine.open.set()

    node = make_node(
        broker,
        bundle,
        0,
        images=EVERY,
        engine=engine,
        transport=transport,
        config=NodeConfig(hang_s=1.5),
        exit_process=die,
    )
    with running(node):
        wait_until(lambda: broker.retained)
        broker.publish(TOPIC, image_file(1), qos=1)
        broker.publish(TOPIC, image_file(2), qos=1)
        assert died.wait(20)
    assert [(status.state, status.lost) for status in statuses] == [("offline", 1)]
    assert [message.payload for message in left] == [image_file(2)]  # the image comes again


def send(broker: MemoryBroker, bundle: Bundle, part: int, request: int = 0) -> None:
    feature = make_feature(bundle, part, request)
    broker.publish(TOPICS.feature(0, f"node-{part}"), feature.encode(), qos=1)


def test_features_are_acknowledged_with_their_label(broker: MemoryBroker, bundle: Bundle) -> None:
    transport = MemoryTransport(broker)
    with running(make_aggregator(broker, bundle, transport=transport)):
        wait_until(lambda: broker.retained)
        broker.acknowledging = False
        for part in range(PARTS):
            send(broker, bundle, part)
        wait_until(lambda: labels(broker))
        send(broker, bundle, 1)  # late, and the broker does not have the label yet
        wait_until(lambda: aggregator_status(broker).late == 1)
        assert len(transport.unacknowledged) == PARTS + 1
        broker.acknowledge_all()
        assert not transport.unacknowledged
        send(broker, bundle, 2)  # late, and it has
        wait_until(lambda: aggregator_status(broker).late == 2)
        wait_until(lambda: not transport.unacknowledged)
    assert len(labels(broker)) == 1


def test_features_that_come_again_make_one_label(broker: MemoryBroker, bundle: Bundle) -> None:
    transport = MemoryTransport(broker)
    with running(make_aggregator(broker, bundle, transport=transport)):
        wait_until(lambda: broker.retained)
        for part in (0, 1):
            send(broker, bundle, part)
        wait_until(lambda: aggregator_status(broker).features == 2)
        transport.redeliver()
        wait_until(lambda: aggregator_status(broker).duplicate == 2)
        send(broker, bundle, 2)
        wait_until(lambda: not transport.unacknowledged)
    assert [label.degraded for label in labels(broker)] == [False]


def test_a_bad_feature_does_not_come_again(broker: MemoryBroker, bundle: Bundle) -> None:
    transport = MemoryTransport(broker)
    with running(make_aggregator(broker, bundle, transport=transport)):
        broker.publish(TOPICS.feature(0, "node-0"), b"rubbish", qos=1)
        wait_until(lambda: aggregator_status(broker).refused == {"magic": 1})
        wait_until(lambda: not transport.unacknowledged)


def test_acknowledgements_are_not_held_for_ever(broker: MemoryBroker, bundle: Bundle) -> None:
    transport = MemoryTransport(broker)
    with running(make_aggregator(broker, bundle, transport=transport, every_deadline_s=0.2)):
        for part in range(PARTS):
            announce(broker, bundle, part, "online")
        send(broker, bundle, 0)
        wait_until(lambda: not transport.unacknowledged)
    (label,) = labels(broker)
    assert label.parts_used == (0,)


def test_features_that_wait_do_not_keep_the_others_out(
    broker: MemoryBroker, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a full window the broker delivers no more: the oldest request is answered."""
    monkeypatch.setattr(aggregator_module, "RECEIVE_MAXIMUM", 4)
    transport = MemoryTransport(broker)
    with running(make_aggregator(broker, bundle, transport=transport, every_deadline_s=1000)):
        for part in range(PARTS):
            announce(broker, bundle, part, "online")
        for request in range(6):
            send(broker, bundle, 0, request)
        wait_until(lambda: len(labels(broker)) == 3)
        assert len(transport.unacknowledged) == 3
        assert [int(label.request_id[:2], 16) for label in labels(broker)] == [0, 1, 2]


def test_too_few_parts_make_no_label(broker: MemoryBroker, bundle: Bundle) -> None:
    transport = MemoryTransport(broker)
    aggregator = make_aggregator(
        broker, bundle, transport=transport, min_parts=2, deadline_s=0.2, every_deadline_s=0.2
    )
    with running(aggregator):
        send(broker, bundle, 0, request=1)
        wait_until(lambda: aggregator_status(broker).unanswered == 1)
        assert not transport.unacknowledged
        for part in (0, 1):
            send(broker, bundle, part, request=2)
        wait_until(lambda: labels(broker))
    (label,) = labels(broker)
    assert label.parts_used == (0, 1)


def test_a_whole_fleet_keeps_its_promise(broker: MemoryBroker, bundle: Bundle) -> None:
    transports = [MemoryTransport(broker) for _ in range(PARTS + 1)]
    nodes = [
        make_node(broker, bundle, part, images=EVERY, transport=transports[part])
        for part in range(PARTS)
    ]
    with running(make_aggregator(broker, bundle, transport=transports[PARTS]), *nodes):
        wait_until(lambda: len(broker.retained) == PARTS + 1)
        for seed in range(10):
            broker.publish(TOPIC, image_file(seed), qos=1)
        wait_until(lambda: len(labels(broker)) == 10)
        wait_until(lambda: not any(transport.unacknowledged for transport in transports))
    found: list[Label] = labels(broker)
    assert not any(label.degraded for label in found)
    assert len({label.request_id for label in found}) == 10
    assert not [topic for topic in broker.retained if "/features/" in topic]
