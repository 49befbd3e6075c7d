"""Who serves a request: which replica of a part, which shard. The request id alone decides."""

import pytest

from devit_iot.bundle.reading import Bundle
from devit_iot.config.config import ImagesConfig, NodeConfig
from devit_iot.node.node import Node
from devit_iot.protocol.feature import Feature
from devit_iot.transport.memory import MemoryBroker
from tests.support.fleets import image_file, wait_until
from tests.support.running import (
    aggregator_status,
    features,
    make_aggregator,
    make_node,
    running,
)

pytestmark = pytest.mark.usefixtures("prompt_status")

PARTS = 3
EVERY = (ImagesConfig("cameras/{camera}/image/{request}", delivery="every"),)

# The first byte of each id, and its last one; the fourteen between them are zero.
ENDS = [(0, 1), (1, 0), (2, 3), (3, 6), (6, 5), (7, 2), (5, 12), (254, 255)]
IDS = [bytes((first, *bytes(14), last)) for first, last in ENDS]


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


def show(broker: MemoryBroker) -> None:
    """Publish one image for each of the ids."""
    for request_id in IDS:
        broker.publish(f"cameras/door/image/{request_id.hex()}", image_file(1), qos=1)


def owners(broker: MemoryBroker) -> dict[bytes, tuple[str, str]]:
    """Request id -> the shard and the node in the topic of its one feature."""
    found = {}
    for topic, payload in broker.log:
        if "/features/" in topic:
            shard, node = topic.split("/")[-2:]
            found[Feature.decode(payload).request_id] = shard, node
    return found


@pytest.mark.parametrize("replicas", [2, 4, 6])
def test_a_replica_serves_by_the_id_as_a_little_endian_number(
    broker: MemoryBroker, bundle: Bundle, replicas: int
) -> None:
    """Modulo 3 and 5 the byte order would not matter: 256 leaves remainder 1."""
    wanted = [(first + last * 256**15) % replicas for first, last in ENDS]
    assert wanted != [(first * 256**15 + last) % replicas for first, last in ENDS]
    nodes = [replica(broker, bundle, index, replicas) for index in range(replicas)]
    with running(*nodes):
        wait_until(lambda: len(broker.retained) == replicas)
        show(broker)
        wait_until(lambda: len(features(broker)) == len(IDS))
    nodes_of = {request_id: node for request_id, (_, node) in owners(broker).items()}
    assert [nodes_of[request_id] for request_id in IDS] == [f"node-{index}" for index in wanted]


def replica(broker: MemoryBroker, bundle: Bundle, index: int, replicas: int) -> Node:
    config = NodeConfig(replica=f"{index}/{replicas}")
    return make_node(broker, bundle, 0, name=f"node-{index}", images=EVERY, config=config)


@pytest.mark.parametrize("shards", [2, 3, 5])
def test_the_first_byte_of_the_id_chooses_the_shard(
    broker: MemoryBroker, bundle: Bundle, shards: int
) -> None:
    assert [first % shards for first, _ in ENDS] != [last % shards for _, last in ENDS]
    with running(make_node(broker, bundle, 0, images=EVERY, shards=shards)):
        wait_until(lambda: broker.retained)
        show(broker)
        wait_until(lambda: len(features(broker)) == len(IDS))
    found = {request_id: shard for request_id, (shard, _) in owners(broker).items()}
    assert found == {request_id: str(request_id[0] % shards) for request_id in IDS}


def test_each_shard_answers_its_own_requests_alone(broker: MemoryBroker, bundle: Bundle) -> None:
    shards = 3
    nodes = [make_node(broker, bundle, part, images=EVERY, shards=shards) for part in range(PARTS)]
    aggregators = [make_aggregator(broker, bundle, shard=shard) for shard in range(shards)]
    wanted = [sum(first % shards == shard for first, _ in ENDS) for shard in range(shards)]
    with running(*aggregators, *nodes):
        wait_until(lambda: len(broker.retained) == shards + PARTS)
        show(broker)
        wait_until(lambda: answered(broker, shards) == wanted)
    assert answered(broker, shards) == wanted
    for shard, count in enumerate(wanted):
        assert aggregator_status(broker, shard).features == PARTS * count
        assert aggregator_status(broker, shard).degraded == 0


def answered(broker: MemoryBroker, shards: int) -> list[int]:
    return [aggregator_status(broker, shard).labels for shard in range(shards)]
