"""Images that an aggregator sends to be looked at: every node computes the same ones."""

import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
import pytest

from devit_iot.aggregator.looker import Looker
from devit_iot.bundle.reading import Bundle
from devit_iot.config.config import AggregatorConfig, Config, ImagesConfig, NodeConfig
from devit_iot.config.crops import CropConfig
from devit_iot.errors import BrokerError
from devit_iot.protocol.crop import Crop
from devit_iot.protocol.looks import LookTopics
from devit_iot.protocol.request import request_id
from devit_iot.service.counters import Counters
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from tests.support.engines import SlowEngine
from tests.support.features import PARTS
from tests.support.fleets import image_file, wait_until
from tests.support.heads import write_random
from tests.support.running import (
    IMAGES,
    TOPICS,
    features,
    labels,
    listen,
    make_aggregator,
    make_node,
    node_status,
    running,
)

DOOR = "cameras/door/image"
CORNER = Crop.of(0.5, 0.25, 0.5, 0.75)
LOOKS = LookTopics("test")
EVERY = (ImagesConfig("cameras/{camera}/image", delivery="every"),)
RARELY = CropConfig(0.5, 0.25, 0.5, 0.75, interval_s=1000.0)
CHANGED = CropConfig(0.5, 0.25, 0.5, 0.75, change=0.05)
ONE, OTHER = image_file(1, size=(80, 64)), image_file(2, size=(80, 64))


def gate(crop: CropConfig) -> Config:
    return Config(heads={"door": ("gate",)}, crops={"door": {"gate": crop}})


def looking(
    transport: MemoryTransport,
    config: Config,
    counters: Counters,
    images: Sequence[ImagesConfig] = IMAGES,
    **changes: object,
) -> AbstractContextManager[None]:
    config = msgspec.structs.replace(config, fleet="test", images=tuple(images), **changes)
    return Looker(config, transport, counters).running()


def sent(broker: MemoryBroker) -> list[tuple[str, bytes]]:
    return [(topic, payload) for topic, payload in broker.log if "/looks/" in topic]


@pytest.fixture
def counters() -> Counters:
    return Counters(logging.getLogger("test"))


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


def ready(broker: MemoryBroker, *names: str) -> None:
    wait_until(lambda: all(TOPICS.node_status(name) in broker.retained for name in names))


def test_nodes_that_start_later_or_lose_an_image_compute_the_same(
    broker: MemoryBroker, bundle: Bundle, counters: Counters
) -> None:
    """A comparison of their own with what each saw last would differ between these nodes."""
    first, late = make_node(broker, bundle, 0), make_node(broker, bundle, 1)
    deaf = MemoryTransport(broker)
    loses = make_node(broker, bundle, 2, transport=deaf)
    with looking(MemoryTransport(broker), gate(CHANGED), counters), running(first, loses):
        broker.publish(TOPICS.crops, gate(CHANGED).head_choice.plan().encode(), retain=True)
        ready(broker, "node-0", "node-2")
        broker.publish(DOOR, ONE)
        wait_until(lambda: len(features(broker)) == 2)
        deaf.stop()  # one image passes this node by
        broker.publish(DOOR, OTHER)
        wait_until(lambda: len(features(broker)) == 3)
        deaf.start(on_ready=lambda: None, on_refused=lambda _: None)
        with running(late):
            ready(broker, "node-1")
            for picture in (OTHER, OTHER, ONE):
                broker.publish(DOOR, picture)
            wait_until(lambda: len(features(broker)) == 6)
    seen = [(feature.part, feature.request_id) for feature in features(broker)[3:]]
    last = CORNER.request_id(request_id(DOOR, ONE))
    assert sorted(seen) == [(part, last) for part in range(3)]
    assert {feature.crop for feature in features(broker)} == {CORNER}
    assert len(sent(broker)) == 3


def test_its_head_answers_with_all_parts(
    broker: MemoryBroker, bundle: Bundle, counters: Counters, tmp_path: Path
) -> None:
    taught = Bundle(Path(shutil.copytree(bundle.path, tmp_path / "bundle")))
    write_random(taught, "gate", 0)
    listen(broker, "#")
    config = gate(RARELY)
    nodes = [make_node(broker, taught, part) for part in range(PARTS)]
    with (
        looking(MemoryTransport(broker), config, counters),
        running(make_aggregator(broker, taught, heads=config), *nodes),
    ):
        ready(broker, *(f"node-{part}" for part in range(PARTS)))
        wait_until(lambda: TOPICS.crops in broker.retained)
        for picture in (ONE, OTHER, ONE):
            broker.publish(DOOR, picture)
        wait_until(lambda: labels(broker))
    (label,) = labels(broker)
    assert (label.head, label.parts_used, label.degraded) == ("gate", tuple(range(PARTS)), False)
    assert label.request_id == CORNER.request_id(request_id(DOOR, ONE)).hex()


def test_an_image_of_every_is_kept_until_the_broker_has_what_was_made_of_it(
    broker: MemoryBroker, counters: Counters
) -> None:
    transport = MemoryTransport(broker)
    broker.acknowledging = False
    with looking(transport, gate(CHANGED), counters, EVERY):
        broker.publish(DOOR, ONE, qos=1)
        assert len(transport.unacknowledged) == 1
        transport.redeliver()  # what came again is not sent again
        assert len(sent(broker)) == 1
        broker.acknowledge_all()
        assert not transport.unacknowledged
        broker.publish(DOOR, ONE, qos=1)  # nothing changed: done at once
        assert not transport.unacknowledged
    assert sent(broker) == [(LOOKS.look(CORNER, "door", request_id(DOOR, ONE)), ONE)]


def test_an_image_whose_process_died_is_sent_by_the_next_one(
    broker: MemoryBroker, counters: Counters
) -> None:
    """It compares with nothing then, so what was to be looked at is, perhaps twice."""
    for _ in range(2):
        with looking(MemoryTransport(broker), gate(CHANGED), counters, EVERY):
            broker.publish(DOOR, ONE, qos=1)
    assert len(sent(broker)) == 2


def test_a_node_acknowledges_what_it_is_to_look_at_when_the_broker_has_its_feature(
    broker: MemoryBroker, bundle: Bundle
) -> None:
    broker.acknowledging = False
    with running(make_node(broker, bundle, 0, images=EVERY)):
        ready(broker, "node-0")
        broker.publish(LOOKS.look(CORNER, "door", bytes(16)), ONE, qos=1)
        wait_until(lambda: node_status(broker).unfinished == 1)
        wait_until(lambda: features(broker))
        broker.acknowledge_all()
        wait_until(lambda: node_status(broker).unfinished == 0)


@pytest.mark.parametrize("crop", ["", "00", "0000000000000000", "ffffffffffffffff", "x" * 16])
def test_a_node_refuses_what_names_no_crop(broker: MemoryBroker, bundle: Bundle, crop: str) -> None:
    with running(make_node(broker, bundle, 0)):
        ready(broker, "node-0")
        broker.publish(f"devit/v1/test/looks/{crop}/door/{'0' * 32}", ONE)
        wait_until(lambda: node_status(broker).refused == {"crop": 1})
    assert not features(broker)


def test_whole_images_and_what_is_looked_at_wait_apart(
    broker: MemoryBroker, bundle: Bundle
) -> None:
    """One of the two would take the other's place, and on another node it may be the other."""
    engine = SlowEngine(bundle.part(0).spec.feature_dim)
    with running(make_node(broker, bundle, 0, engine=engine)):
        ready(broker, "node-0")
        broker.publish("cameras/hall/image", ONE)
        assert engine.begun.acquire(timeout=20)
        broker.publish(DOOR, ONE)
        broker.publish(LOOKS.look(CORNER, "door", request_id(DOOR, ONE)), ONE)
        engine.go_on.release(3)
        wait_until(lambda: len(features(broker)) == 3)
    assert [feature.crop for feature in features(broker)] == [None, None, CORNER]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [(b"rubbish", "unknown_codec"), (ONE[:90], "damaged"), (b"1" * 99, "too_large")],
)
def test_what_is_no_picture_is_refused_and_the_next_one_is_judged(
    broker: MemoryBroker, counters: Counters, payload: bytes, reason: str
) -> None:
    transport = MemoryTransport(broker)
    node = NodeConfig(max_payload_bytes=98)
    with looking(transport, gate(CHANGED), counters, EVERY, node=node):
        broker.publish(DOOR, payload, qos=1)
        assert counters.refused == {reason: 1}
        assert not transport.unacknowledged
    assert not sent(broker)


def test_of_other_cameras_and_of_retained_images_nothing_is_sent(
    broker: MemoryBroker, counters: Counters
) -> None:
    broker.publish(DOOR, ONE, retain=True)
    with looking(MemoryTransport(broker), gate(RARELY), counters):
        broker.publish("cameras/hall/image", ONE)
        broker.publish(DOOR, b"", retain=True)
    assert not sent(broker)
    assert not counters.refused


def test_one_aggregator_decides_for_a_camera(broker: MemoryBroker, counters: Counters) -> None:
    both = [
        looking(
            MemoryTransport(broker),
            gate(RARELY),
            counters,
            shards=2,
            aggregator=AggregatorConfig(shard=shard),
        )
        for shard in range(2)
    ]
    with both[0], both[1]:
        broker.publish(DOOR, ONE)
    assert len(sent(broker)) == 1


class RefusedTransport(MemoryTransport):
    """A broker that knows the user, and not this client id."""

    def start(
        self, *, on_ready: Callable[[], None], on_refused: Callable[[BrokerError], None]
    ) -> None:
        del on_ready
        on_refused(BrokerError("not authorised"))


def test_a_broker_that_refuses_the_connection_is_counted(
    broker: MemoryBroker, counters: Counters
) -> None:
    with looking(RefusedTransport(broker), gate(RARELY), counters):
        pass
    assert counters.refused == {"looks": 1}
