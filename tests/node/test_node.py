"""One node over the in-process broker: what it answers, what it refuses, what it reports."""

import base64
import json
import time

import numpy as np
import pytest

from devit_iot.bundle.reading import Bundle
from devit_iot.config.config import Delivery, ImagesConfig, NodeConfig
from devit_iot.engine.base import load_engine
from devit_iot.engine.image import load_image
from devit_iot.protocol.request import preference, request_id
from devit_iot.protocol.status import NodeStatus
from devit_iot.transport.memory import MemoryBroker
from tests.support.engines import BrokenEngine, SlowEngine
from tests.support.fleets import huge_jpeg, image_file, wait_until
from tests.support.running import TOPICS, features, make_node, node_status, running

pytestmark = pytest.mark.usefixtures("prompt_status")

TOPIC = "cameras/door/image"
GOOD = image_file(1)


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


def test_an_image_becomes_a_feature(broker: MemoryBroker, bundle: Bundle) -> None:
    with running(make_node(broker, bundle, 1)):
        wait_until(lambda: broker.retained)
        broker.publish(TOPIC, GOOD, retain=False)
        wait_until(lambda: features(broker))
    (feature,) = features(broker)
    wanted = load_engine(bundle.read_part(1)).features(load_image(GOOD, bundle.part(1).spec))
    np.testing.assert_allclose(feature.values, wanted, rtol=2**-11, atol=1e-6)  # float16 wire
    assert feature.request_id == request_id(TOPIC, GOOD)
    assert (feature.camera, feature.part, feature.parts) == ("door", 1, 3)
    assert feature.fingerprint == bundle.fingerprint
    assert feature.timing.decode_us > 0
    assert feature.timing.compute_us > 0
    assert broker.retained.keys() == {TOPICS.node_status("node-1")}


@pytest.mark.parametrize(
    "payload",
    [
        base64.b64encode(GOOD),
        base64.encodebytes(GOOD),
        json.dumps({"time": 1, "image": base64.b64encode(GOOD).decode()}).encode(),
        json.dumps({"data": "data:image/png;base64," + base64.b64encode(GOOD).decode()}).encode(),
    ],
    ids=["base64", "base64-lines", "json", "json-data-url"],
)
def test_cameras_may_wrap_the_image(broker: MemoryBroker, bundle: Bundle, payload: bytes) -> None:
    with running(make_node(broker, bundle, 0)):
        broker_ready(broker)
        broker.publish(TOPIC, payload, retain=False)
        broker.publish("cameras/raw/image", GOOD, retain=False)
        wait_until(lambda: len(features(broker)) == 2)
    wrapped, raw = features(broker)
    np.testing.assert_array_equal(wrapped.values, raw.values)
    assert wrapped.request_id == request_id(TOPIC, payload)


BAD = {
    "empty": (TOPIC, b" ", "empty"),
    "text": (TOPIC, b"hello, this is a camera", "unknown_codec"),
    "truncated": (TOPIC, GOOD[: len(GOOD) // 2], "damaged"),
    "truncated-jpeg": (TOPIC, image_file(1, kind="JPEG")[:-200], "incomplete"),
    "gif": (TOPIC, image_file(1, kind="GIF"), "unknown_codec"),
    "20000x20000": (TOPIC, huge_jpeg().ljust(2 * 2**20, b"\0"), "too_large"),
    "too-many-bytes": (TOPIC, GOOD.ljust(3 * 2**20, b"\0"), "too_large"),
    "base64": (TOPIC, b"A" * 101, "base64"),
    "json": (TOPIC, b'{"image": ', "json"),
    "json-without-image": (TOPIC, b'{"picture": "AAAA"}', "json"),
    "deep-json": (TOPIC, b'{"a":' * 100_000, "json"),
    "camera": ("cameras/" + "x" * 100 + "/image", GOOD, "camera"),
    "request-id": (TOPIC + "/42", GOOD, "request_id"),
}


@pytest.mark.parametrize(("topic", "payload", "reason"), BAD.values(), ids=BAD)
def test_bad_input_costs_only_itself(
    broker: MemoryBroker,
    bundle: Bundle,
    caplog: pytest.LogCaptureFixture,
    topic: str,
    payload: bytes,
    reason: str,
) -> None:
    config = NodeConfig(max_payload_bytes=5 * 2**19)
    with running(make_node(broker, bundle, 0, config=config)):
        broker_ready(broker)
        broker.publish(topic, payload, retain=False)
        wait_until(lambda: node_status(broker).refused)
        broker.publish(TOPIC, GOOD, retain=False)
        wait_until(lambda: features(broker))
    status = node_status(broker)
    assert status.refused == {reason: 1}
    assert (status.received, status.published) == (2, 1)
    assert len([r for r in caplog.records if "refused" in r.getMessage()]) == 1


@pytest.mark.parametrize("retained", [False, True])
def test_a_deleted_image_is_nothing(
    broker: MemoryBroker, bundle: Bundle, caplog: pytest.LogCaptureFixture, *, retained: bool
) -> None:
    caplog.set_level("INFO")
    with running(make_node(broker, bundle, 0)):
        broker_ready(broker)
        for _ in range(3):
            broker.publish(TOPIC, b"", retain=retained)
        broker.publish(TOPIC, GOOD, retain=False)
        wait_until(lambda: features(broker))
        wait_until(lambda: node_status(broker).published)
    status = node_status(broker)
    assert (status.refused, status.received, status.dropped) == ({}, 1, 0)
    assert len([r for r in caplog.records if "nothing to label" in r.getMessage()]) == 1


def test_a_bug_or_nan_in_the_engine_costs_one_frame(broker: MemoryBroker, bundle: Bundle) -> None:
    engine = BrokenEngine(bundle.part(0).spec.feature_dim)
    with running(make_node(broker, bundle, 0, engine=engine)):
        broker_ready(broker)
        for seed in range(3):
            broker.publish(f"cameras/{seed}/image", image_file(seed), retain=False)
        wait_until(lambda: node_status(broker).published == 1)
    status = node_status(broker)
    assert (status.lost, status.refused) == (1, {"not_finite": 1})


def test_more_cameras_than_may_wait_are_refused(
    broker: MemoryBroker, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    engine = SlowEngine(bundle.part(0).spec.feature_dim)
    with running(make_node(broker, bundle, 0, engine=engine, config=NodeConfig(max_cameras=1))):
        broker_ready(broker)
        broker.publish(TOPIC, GOOD, retain=False)
        assert engine.begun.acquire(timeout=20)
        for camera in ("second", "third"):
            broker.publish(f"cameras/{camera}/image", GOOD, retain=False)
        engine.go_on.release()
        assert engine.begun.acquire(timeout=20)
        engine.go_on.release()
        wait_until(lambda: len(features(broker)) == 2)
    assert [feature.camera for feature in features(broker)] == ["door", "second"]
    assert node_status(broker).refused == {"too_many_cameras": 1}
    assert "more than 1 cameras are waiting" in caplog.text


def test_slow_nodes_serve_the_same_frames(broker: MemoryBroker, bundle: Bundle) -> None:
    engine = SlowEngine(bundle.part(0).spec.feature_dim)
    with running(make_node(broker, bundle, 0, engine=engine)):
        broker_ready(broker)
        broker.publish(TOPIC, image_file(0), retain=False)
        assert engine.begun.acquire(timeout=20)
        for seed in range(1, 6):
            broker.publish(TOPIC, image_file(seed), retain=False)
        engine.go_on.release()
        assert engine.begun.acquire(timeout=20)
        engine.go_on.release()
        wait_until(lambda: len(features(broker)) == 2)
    ids = [feature.request_id for feature in features(broker)]
    waited = [request_id(TOPIC, image_file(seed)) for seed in range(1, 6)]
    assert ids == [request_id(TOPIC, image_file(0)), max(waited, key=preference)]
    assert node_status(broker).dropped == 4


def test_retained_images_are_old_unless_asked_for(broker: MemoryBroker, bundle: Bundle) -> None:
    broker.retained[TOPIC] = GOOD
    with running(make_node(broker, bundle, 0)):
        broker_ready(broker)
        broker.publish("cameras/live/image", image_file(2), retain=False)
        wait_until(lambda: features(broker))
    assert [feature.camera for feature in features(broker)] == ["live"]
    images = (ImagesConfig("cameras/{camera}/image", retained=True),)
    with running(make_node(broker, bundle, 0, images=images)):
        wait_until(lambda: len(features(broker)) == 2)
    assert features(broker)[1].camera == "door"


def test_replicas_share_the_requests(broker: MemoryBroker, bundle: Bundle) -> None:
    names = ("a", "b", "c")
    nodes = [
        make_node(broker, bundle, 0, name=name, config=NodeConfig(replica=f"{index}/3"))
        for index, name in enumerate(names)
    ]
    with running(*nodes):
        wait_until(lambda: len(broker.retained) == 3)
        for seed in range(30):
            broker.publish(f"cameras/{seed}/image", GOOD, retain=False)
        wait_until(lambda: len(features(broker)) == 30)
    assert len({feature.request_id for feature in features(broker)}) == 30
    assert all(node_status(broker, name).published > 0 for name in names)


def test_status_follows_the_node(broker: MemoryBroker, bundle: Bundle) -> None:
    node = make_node(broker, bundle, 0)
    with running(node):
        broker_ready(broker)
        assert node_status(broker).state == "online"
    assert node_status(broker).state == "offline"


def broker_ready(broker: MemoryBroker) -> None:
    wait_until(lambda: broker.retained.keys() >= {"devit/v1/test/nodes/node-0/status"})


def test_an_old_frame_is_not_computed(broker: MemoryBroker, bundle: Bundle) -> None:
    engine = SlowEngine(bundle.part(0).spec.feature_dim)
    config = NodeConfig(max_age_s=0.2)
    with running(make_node(broker, bundle, 0, engine=engine, config=config)):
        broker_ready(broker)
        broker.publish(TOPIC, image_file(0))
        assert engine.begun.acquire(timeout=20)
        broker.publish("cameras/yard/image", image_file(1))
        time.sleep(0.3)
        broker.publish("cameras/roof/image", image_file(2))
        engine.go_on.release()
        assert engine.begun.acquire(timeout=20)
        engine.go_on.release()
        wait_until(lambda: len(features(broker)) == 2)
    assert [feature.camera for feature in features(broker)] == ["door", "roof"]
    assert node_status(broker).drops == {"yard": {"age": 1}}


@pytest.mark.parametrize("delivery", ["latest", "every"])
def test_a_jpeg_that_ends_early_counts_where_its_filter_says_so(
    broker: MemoryBroker, bundle: Bundle, delivery: Delivery
) -> None:
    images = (
        ImagesConfig("cameras/{camera}/image", delivery=delivery),
        ImagesConfig("old/{camera}/image", delivery=delivery, incomplete="take"),
    )
    file = image_file(1, kind="JPEG", size=(200, 150))
    file = file[: len(file) // 2] + b"\xff\xd9"
    with running(make_node(broker, bundle, 0, images=images)):
        broker_ready(broker)
        broker.publish(TOPIC, file, qos=1)
        broker.publish("old/yard/image", file, qos=1)
        wait_until(lambda: features(broker) and node_status(broker).refused)
    assert [feature.camera for feature in features(broker)] == ["yard"]
    assert node_status(broker).refused == {"incomplete": 1}


def test_a_rate_bounds_each_camera(broker: MemoryBroker, bundle: Bundle) -> None:
    images = (ImagesConfig("cameras/{camera}/image", max_rate=2.0),)
    with running(make_node(broker, bundle, 0, images=images)):
        broker_ready(broker)
        for seed in range(9):
            broker.publish(TOPIC, image_file(seed))
        broker.publish("cameras/yard/image", image_file(9))
        wait_until(lambda: "yard" in {feature.camera for feature in features(broker)})
    assert node_status(broker).drops["door"]["rate"] == 7


def test_every_image_is_accounted_for(broker: MemoryBroker, bundle: Bundle) -> None:
    images = (ImagesConfig("cameras/{camera}/image", max_rate=50.0),)
    with running(make_node(broker, bundle, 0, images=images)):
        broker_ready(broker)
        for number in range(300):
            payload = b"rubbish" if number % 10 == 0 else image_file(number)
            broker.publish(f"cameras/{number % 3}/image", payload)
        wait_until(lambda: accounted(node_status(broker)) == 300)
    status = node_status(broker)
    assert status.received == 300
    assert status.dropped > 0
    assert status.dropped == sum(sum(counts.values()) for counts in status.drops.values())


def accounted(status: NodeStatus) -> int:
    return status.published + status.dropped + sum(status.refused.values()) + status.lost
