"""Two nodes with one part share its images by who lives, and lose none of `every`."""

import msgspec
import pytest

from devit_iot.bundle.reading import Bundle
from devit_iot.config.config import ImagesConfig, NodeConfig
from devit_iot.node import sharing as sharing_module
from devit_iot.node.node import Node
from devit_iot.protocol.feature import Feature
from devit_iot.protocol.request import weight
from devit_iot.protocol.status import NodeStatus
from devit_iot.service import status as status_module
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from tests.support.features import make_feature
from tests.support.fleets import image_file, wait_until
from tests.support.running import TOPICS, features, make_node, node_status, running

EVERY = (ImagesConfig("cameras/{camera}/image/{request}", delivery="every"),)
IDS = [bytes([number, *bytes(15)]) for number in range(20)]


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_module, "INTERVAL_S", 0.0)
    monkeypatch.setattr(sharing_module, "CATCH_UP_S", (0.0, 60.0))


def other(bundle: Bundle, state: str = "online", **changed: object) -> bytes:
    """What a node ``b`` with part 0 says, of which there is nothing else."""
    fields = {
        "state": state,
        "node": "b",
        "part": 0,
        "parts": len(bundle.manifest.parts),
        "fingerprint": bundle.manifest.fingerprint,
        "shares": True,
        **changed,
    }
    return NodeStatus(**fields).encode()  # type: ignore[arg-type]


def say(broker: MemoryBroker, payload: bytes) -> None:
    broker.publish(TOPICS.node_status("b"), payload, retain=True)


def show(broker: MemoryBroker, *request_ids: bytes) -> None:
    for request_id in request_ids:
        broker.publish(f"cameras/door/image/{request_id.hex()}", image_file(1), qos=1)


def computed(broker: MemoryBroker, node: str = "a") -> set[bytes]:
    topic = TOPICS.feature(0, node)
    return {Feature.decode(payload).request_id for at, payload in broker.log if at == topic}


def of(node: str) -> list[bytes]:
    """The requests that fall to a node of ``a`` and ``b``."""
    rest = "b" if node == "a" else "a"
    return [i for i in IDS if weight(i, node) > weight(i, rest)]


def every_node(broker: MemoryBroker, bundle: Bundle, transport: MemoryTransport) -> Node:
    return make_node(broker, bundle, 0, name="a", images=EVERY, transport=transport)


def sharing(broker: MemoryBroker) -> bool:
    if TOPICS.node_status("a") not in broker.retained:
        return False
    status = node_status(broker, "a")
    return status.shares and status.replicas == 2


def test_each_image_is_computed_by_one_of_the_living(broker: MemoryBroker, bundle: Bundle) -> None:
    nodes = [make_node(broker, bundle, 0, name=name) for name in ("a", "b")]
    with running(*nodes):
        wait_until(
            lambda: all(
                TOPICS.node_status(name) in broker.retained
                and node_status(broker, name).replicas == 2
                for name in ("a", "b")
            )
        )
        for request_id in IDS:  # one by one: a node keeps only one image of a camera
            before = len(features(broker))
            show(broker, request_id)
            wait_until(lambda before=before: len(features(broker)) > before)  # type: ignore[misc]
    assert computed(broker, "a") == set(of("a"))
    assert computed(broker, "b") == set(of("b"))


def test_an_image_of_another_node_stays_at_the_broker_until_it_is_computed(
    broker: MemoryBroker, bundle: Bundle
) -> None:
    transport = MemoryTransport(broker)
    with running(every_node(broker, bundle, transport)):
        say(broker, other(bundle))
        wait_until(lambda: sharing(broker))
        show(broker, *IDS)
        wait_until(lambda: computed(broker) == set(of("a")))
        wait_until(lambda: len(transport.unacknowledged) == len(of("b")))
        for request_id in of("b"):
            feature = make_feature(bundle, 0, request_id[0])
            broker.publish(TOPICS.feature(0, "b"), feature.encode(), qos=1)
        wait_until(lambda: not transport.unacknowledged)
    assert computed(broker) == set(of("a"))


@pytest.mark.parametrize("goodbye", ["offline", "deleted", "another part"])
def test_who_is_gone_loses_nothing(broker: MemoryBroker, bundle: Bundle, goodbye: str) -> None:
    transport = MemoryTransport(broker)
    with running(every_node(broker, bundle, transport)):
        say(broker, other(bundle))
        wait_until(lambda: sharing(broker))
        show(broker, *IDS)
        wait_until(lambda: computed(broker) == set(of("a")))
        said = {"offline": other(bundle, "offline"), "deleted": b""}
        say(broker, said.get(goodbye, other(bundle, part=1)))
        wait_until(lambda: computed(broker) == set(IDS))
        wait_until(lambda: not transport.unacknowledged)


def test_a_node_that_hangs_is_not_waited_for_long(
    broker: MemoryBroker, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing_module, "HOLD_S", 0.3)
    transport = MemoryTransport(broker)
    with running(every_node(broker, bundle, transport)):
        say(broker, other(bundle))
        wait_until(lambda: sharing(broker))
        show(broker, *IDS)
        wait_until(lambda: computed(broker) == set(IDS))
        wait_until(lambda: not transport.unacknowledged)


@pytest.mark.parametrize("wrong", ["part", "bundle", "node", "rubbish"])
def test_only_a_feature_of_the_part_counts(
    broker: MemoryBroker, bundle: Bundle, wrong: str
) -> None:
    transport = MemoryTransport(broker)
    request_id = of("b")[0]
    feature = make_feature(bundle, 1 if wrong == "part" else 0, request_id[0])
    if wrong == "bundle":
        feature = msgspec.structs.replace(feature, fingerprint=bytes(8))
    payload = b"DVF1" if wrong == "rubbish" else feature.encode()
    with running(every_node(broker, bundle, transport)):
        say(broker, other(bundle))
        wait_until(lambda: sharing(broker))
        show(broker, request_id, *of("a"))
        broker.publish(TOPICS.feature(0, "c" if wrong == "node" else "b"), payload, qos=1)
        wait_until(lambda: computed(broker) == set(of("a")))
        wait_until(lambda: len(transport.unacknowledged) == 1)
        say(broker, other(bundle, "offline"))
        wait_until(lambda: request_id in computed(broker))


def test_a_node_that_comes_back_computes_what_waited_and_skips_what_was_done(
    broker: MemoryBroker, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not count as a companion yet, so nobody leaves it an image meanwhile."""
    monkeypatch.setattr(sharing_module, "CATCH_UP_S", (60.0, 60.0))
    transport = MemoryTransport(broker)
    with running(every_node(broker, bundle, transport)):
        say(broker, other(bundle))
        wait_until(
            lambda: (
                TOPICS.node_status("a") in broker.retained
                and node_status(broker, "a").replicas == 2
            )
        )
        done, *waited = of("b")
        feature = make_feature(bundle, 0, done[0])
        broker.publish(TOPICS.feature(0, "b"), feature.encode(), qos=1)
        show(broker, done, *waited)
        wait_until(lambda: computed(broker) == set(waited))
        wait_until(lambda: not transport.unacknowledged)
        assert not node_status(broker, "a").shares


def test_what_is_held_takes_of_the_same_memory(broker: MemoryBroker, bundle: Bundle) -> None:
    transport = MemoryTransport(broker)
    config = NodeConfig(max_waiting_mib=1)
    node = make_node(broker, bundle, 0, name="a", images=EVERY, transport=transport, config=config)
    large = image_file(1).ljust(400_000, b"\0")
    with running(node):
        say(broker, other(bundle))
        wait_until(lambda: sharing(broker))
        for request_id in of("b")[:4]:
            broker.publish(f"cameras/door/image/{request_id.hex()}", large, qos=1)
        wait_until(lambda: node_status(broker, "a").deferred >= 2)
        say(broker, other(bundle, "offline"))
        wait_until(lambda: not transport.unacknowledged)
    assert computed(broker) == set(of("b")[:4])


def test_a_status_of_rubbish_is_counted(broker: MemoryBroker, bundle: Bundle) -> None:
    with running(make_node(broker, bundle, 0, name="a")):
        say(broker, b"{")
        wait_until(
            lambda: (
                TOPICS.node_status("a") in broker.retained
                and node_status(broker, "a").refused == {"json": 1}
            )
        )
