"""Labels before all parts have answered: when, and what they and later features say."""

from pathlib import Path

import msgspec
import pytest

from devit_iot.aggregator.aggregator import Aggregator
from devit_iot.aggregator.fusions import Fusions
from devit_iot.aggregator.heads import CameraHeads
from devit_iot.build_aggregator import build_aggregator
from devit_iot.bundle.calibration import write_calibration
from devit_iot.bundle.reading import Bundle
from devit_iot.config.config import Config, ImagesConfig
from devit_iot.config.early import EarlyChoice
from devit_iot.errors import BundleError, ConfigError
from devit_iot.protocol.label import Label
from devit_iot.transport.base import Message
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from tests.support.calibrations import sure_after
from tests.support.features import PARTS, announce, make_feature
from tests.support.fleets import make_bundle, wait_until
from tests.support.running import (
    TOPICS,
    aggregator_status,
    labels,
    listen,
    make_aggregator,
    running,
)

pytestmark = pytest.mark.usefixtures("prompt_status")

TOPIC = "cameras/{camera}/image"
SURE = ImagesConfig(TOPIC, confidence=0.9)
CASCADE = ImagesConfig(TOPIC, confidence=0.9, mode="cascade", hold_s=0.05)


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    made = make_bundle(tmp_path_factory.mktemp("early") / "bundle")
    write_calibration(made, sure_after(made, 2))
    return made


def fused(
    broker: MemoryBroker,
    bundle: Bundle,
    *images: ImagesConfig,
    transport: MemoryTransport | None = None,
    **config: float,
) -> Aggregator:
    heads = CameraHeads(bundle, Config().head_choice)
    heads.calibrate()
    return make_aggregator(
        broker,
        bundle,
        fusions=Fusions((heads,)),
        early=EarlyChoice(images),
        transport=transport,
        heads=None,
        observer=None,
        counters=None,
        **config,
    )


def send(broker: MemoryBroker, bundle: Bundle, part: int, request: int = 0, qos: int = 0) -> None:
    feature = make_feature(bundle, part, request)
    broker.publish(TOPICS.feature(0, f"node-{part}"), feature.encode(), qos=qos)


def everybody(broker: MemoryBroker, bundle: Bundle) -> None:
    for part in range(PARTS):
        announce(broker, bundle, part, "online")


def said(broker: MemoryBroker) -> list[bytes]:
    return [payload for topic, payload in broker.log if topic == TOPICS.enough(0)]


def test_a_label_goes_out_when_it_is_sure(broker: MemoryBroker, bundle: Bundle) -> None:
    with running(fused(broker, bundle, SURE)):
        everybody(broker, bundle)
        send(broker, bundle, 2)
        wait_until(lambda: aggregator_status(broker).features == 1)
        assert not labels(broker)
        send(broker, bundle, 0)
        wait_until(lambda: labels(broker))
        send(broker, bundle, 1)
        wait_until(lambda: aggregator_status(broker).late == 1)
    (label,) = labels(broker)
    assert (label.early, label.degraded, label.parts_used) == (True, False, (0, 2))
    assert aggregator_status(broker).early == 1
    assert aggregator_status(broker).degraded == 0
    assert not said(broker)  # its nodes compute together


def test_without_confidence_nothing_is_early(broker: MemoryBroker, bundle: Bundle) -> None:
    with running(fused(broker, bundle)):
        everybody(broker, bundle)
        for part in range(PARTS):
            send(broker, bundle, part)
        wait_until(lambda: labels(broker))
    ((_, payload),) = [entry for entry in broker.log if "/labels/" in entry[0]]
    assert b"early" not in payload
    assert Label.decode(payload).parts_used == (0, 1, 2)


def test_what_lacks_a_dead_part_is_degraded_not_early(broker: MemoryBroker, bundle: Bundle) -> None:
    with running(fused(broker, bundle, SURE)):
        for part in range(PARTS - 1):
            announce(broker, bundle, part, "online")
        announce(broker, bundle, PARTS - 1, "offline")
        for part in range(PARTS - 1):
            send(broker, bundle, part)
        wait_until(lambda: labels(broker))
    (label,) = labels(broker)
    assert label.degraded
    assert label.early is not True


def test_fewer_than_min_parts_are_never_early(broker: MemoryBroker, bundle: Bundle) -> None:
    with running(fused(broker, bundle, SURE, min_parts=3)):
        everybody(broker, bundle)
        for part in range(PARTS):
            send(broker, bundle, part)
        wait_until(lambda: labels(broker))
    assert [label.parts_used for label in labels(broker)] == [(0, 1, 2)]


def test_features_of_every_are_acknowledged_with_an_early_label(
    broker: MemoryBroker, bundle: Bundle
) -> None:
    transport = MemoryTransport(broker)
    with running(fused(broker, bundle, SURE, transport=transport)):
        everybody(broker, bundle)
        broker.acknowledging = False
        for part in (0, 1):
            send(broker, bundle, part, qos=1)
        wait_until(lambda: labels(broker))
        send(broker, bundle, 2, qos=1)
        wait_until(lambda: aggregator_status(broker).late == 1)
        assert len(transport.unacknowledged) == PARTS
        broker.acknowledge_all()
        wait_until(lambda: not transport.unacknowledged)


@pytest.mark.parametrize("qos", [0, 1])
def test_enough_is_said_only_when_the_broker_has_the_label(
    broker: MemoryBroker, bundle: Bundle, qos: int
) -> None:
    """An aggregator that dies after it said so has cost no label."""
    with running(fused(broker, bundle, CASCADE)):
        everybody(broker, bundle)
        broker.acknowledging = False
        for part in (0, 1):
            send(broker, bundle, part, request=7, qos=qos)
        wait_until(lambda: labels(broker))
        wait_until(lambda: aggregator_status(broker).labels == 1)
        assert not said(broker)
        broker.acknowledge_all()
        wait_until(lambda: said(broker))
    assert said(broker) == [(7).to_bytes(16, "little")]
    assert TOPICS.enough(0) not in broker.retained


def test_nothing_is_said_of_a_label_of_all_parts(broker: MemoryBroker, bundle: Bundle) -> None:
    write = sure_after(bundle, PARTS)
    write_calibration(bundle, write)
    try:
        with running(fused(broker, bundle, CASCADE)):
            everybody(broker, bundle)
            for part in range(PARTS):
                send(broker, bundle, part)
            wait_until(lambda: labels(broker))
    finally:
        write_calibration(bundle, sure_after(bundle, 2))
    assert not said(broker)


def test_a_cascade_is_waited_for_as_long_as_its_last_node_waits(
    broker: MemoryBroker, bundle: Bundle
) -> None:
    slow = ImagesConfig(TOPIC, confidence=0.9, mode="cascade", hold_s=10.0)
    door = ImagesConfig("cameras-door", confidence=0.9)
    with running(fused(broker, bundle, slow, door, deadline_s=0.05, min_deadline_s=0.05)):
        everybody(broker, bundle)
        send(broker, bundle, 0)
        plain = msgspec.structs.replace(make_feature(bundle, 0, 1), camera="cameras-door")
        broker.publish(TOPICS.feature(0, "node-0"), plain.encode())
        wait_until(lambda: labels(broker))
    assert [label.camera for label in labels(broker)] == ["cameras-door"]


@pytest.fixture
def uncalibrated(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "bundle")


def test_confidence_without_a_calibration_is_refused(uncalibrated: Bundle) -> None:
    config = Config(bundle=str(uncalibrated.path), images=(SURE,))
    with pytest.raises(BundleError, match="devit bundle calibrate"):
        build_aggregator(config, {})


def test_a_head_that_is_taught_anew_waits_for_all_parts(bundle: Bundle) -> None:
    heads = CameraHeads(bundle, Config().head_choice)
    heads.calibrate()
    (fusion,) = heads.of("door")
    assert heads.sureness(fusion) is not None
    fusion.version = "f" * 16
    assert heads.sureness(fusion) is None


def test_filters_with_wildcards_agree() -> None:
    single = ImagesConfig("cameras/gate/image", confidence=0.5)
    choice = EarlyChoice([single, CASCADE])
    assert choice.of("cameras-gate-image").confidence == 0.5
    assert choice.of("yard") == (0.9, 0.05)
    with pytest.raises(ConfigError, match="different confidence"):
        EarlyChoice([SURE, ImagesConfig("photos/{camera}", confidence=0.5)])


def test_nobody_is_told_twice(broker: MemoryBroker, bundle: Bundle) -> None:
    heard: list[Message] = listen(broker, TOPICS.all_enough)
    with running(fused(broker, bundle, CASCADE)):
        everybody(broker, bundle)
        for part in range(PARTS):
            send(broker, bundle, part)
        wait_until(lambda: aggregator_status(broker).late == 1)
        wait_until(lambda: heard)
    assert len(heard) == 1
