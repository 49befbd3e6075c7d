"""An aggregator that holds several bundles, or gets them later than the features."""

import msgspec
import pytest

from devit_iot.aggregator.fusions import MAX_FUSIONS, Fusions
from devit_iot.aggregator.heads import CameraHeads
from devit_iot.bundle.reading import Bundle
from devit_iot.config.config import Config
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from tests.support.features import PARTS, make_feature
from tests.support.fleets import make_bundle, wait_until
from tests.support.running import TOPICS, aggregator_status, labels, make_aggregator, running

pytestmark = pytest.mark.usefixtures("prompt_status")


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("other") / "bundle", seed=9)


def default_head(bundle: Bundle) -> CameraHeads:
    return CameraHeads(bundle, Config().head_choice)


def called(bundle: Bundle, fingerprint: str) -> CameraHeads:
    heads = default_head(bundle)
    heads.fingerprint = fingerprint
    return heads


def send(broker: MemoryBroker, bundle: Bundle, request: int) -> None:
    """The features of one image of `every`."""
    wait_until(lambda: TOPICS.aggregator_status(0) in broker.retained)
    for part in range(PARTS):
        feature = make_feature(bundle, part, request)
        broker.publish(TOPICS.feature(0, f"node-{part}"), feature.encode(), qos=1)


def test_requests_of_two_bundles_are_answered_each_by_its_own(
    broker: MemoryBroker, bundle: Bundle, other: Bundle
) -> None:
    fusions = Fusions([default_head(bundle), default_head(other)])
    with running(make_aggregator(broker, bundle, fusions=fusions)):
        for request, made in enumerate((bundle, other, bundle), 1):
            send(broker, made, request)
        wait_until(lambda: len(labels(broker)) == 3)
    said = [label.fingerprint for label in labels(broker)]
    one, two = bundle.manifest.fingerprint, other.manifest.fingerprint
    assert said == [one, two, one]
    assert aggregator_status(broker).refused == {}


@pytest.mark.parametrize("is_named", [False, True])
def test_features_wait_at_the_broker_for_a_bundle_that_is_on_its_way(
    broker: MemoryBroker, bundle: Bundle, other: Bundle, *, is_named: bool
) -> None:
    """The aggregator was away while the fleet went over: no image may be lost."""
    fusions = Fusions([default_head(bundle)], awaiting=True)
    transport = MemoryTransport(broker)
    if is_named:
        fusions.await_only([other.manifest.fingerprint])
    with running(make_aggregator(broker, bundle, transport=transport, fusions=fusions)):
        send(broker, other, 1)
        send(broker, bundle, 2)
        wait_until(lambda: len(labels(broker)) == 1)
        assert len(transport.unacknowledged) == PARTS
        fusions.add(default_head(other))
        wait_until(lambda: len(labels(broker)) == 2)
        wait_until(lambda: not transport.unacknowledged)
    assert aggregator_status(broker).refused == {}


def test_features_of_a_bundle_that_does_not_come_are_refused(
    broker: MemoryBroker, bundle: Bundle, other: Bundle
) -> None:
    fusions = Fusions([default_head(bundle)], awaiting=True)
    transport = MemoryTransport(broker)
    with running(make_aggregator(broker, bundle, transport=transport, fusions=fusions)):
        send(broker, other, 1)
        wait_until(lambda: len(transport.unacknowledged) == PARTS)
        fusions.await_only([bundle.manifest.fingerprint])
        wait_until(lambda: not transport.unacknowledged)
        # One that was still in the inbox may be delivered, and refused, once more.
        wait_until(lambda: aggregator_status(broker).refused.get("other_bundle", 0) >= PARTS)
    assert not labels(broker)


def test_the_last_few_are_kept(bundle: Bundle) -> None:
    fusions = Fusions()
    names = [f"{number:016x}" for number in range(MAX_FUSIONS + 1)]
    for name in names:
        fusions.add(called(bundle, name))
    assert [fusions.get(name) is not None for name in names] == [False, *[True] * MAX_FUSIONS]
    fusions.add(called(bundle, names[1]))  # served again
    fusions.add(called(bundle, "f" * 16))
    assert fusions.get(names[1]) is not None
    assert fusions.get(names[2]) is None


def test_a_request_whose_bundle_was_replaced_meanwhile_is_given_up(
    broker: MemoryBroker, bundle: Bundle
) -> None:
    fusions = Fusions([default_head(bundle)])
    names = [f"{number:016x}" for number in range(MAX_FUSIONS)]
    with running(make_aggregator(broker, bundle, fusions=fusions, deadline_s=60.0, max_open=1)):
        wait_until(lambda: TOPICS.aggregator_status(0) in broker.retained)
        broker.publish(TOPICS.feature(0, "node-0"), make_feature(bundle, 0, 1).encode())
        wait_until(lambda: aggregator_status(broker).features == 1)
        for name in names:
            fusions.add(called(bundle, name))
        feature = msgspec.structs.replace(
            make_feature(bundle, 0, 2), fingerprint=bytes.fromhex(names[0])
        )
        broker.publish(TOPICS.feature(0, "node-0"), feature.encode())
        wait_until(lambda: aggregator_status(broker).refused == {"other_bundle": 1})
    assert not labels(broker)
