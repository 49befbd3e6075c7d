"""Services on threads over the in-process broker."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import msgspec

from devit_iot.aggregator.aggregator import Aggregator
from devit_iot.aggregator.crop_plan import CropPlanner
from devit_iot.aggregator.fusions import Fusions
from devit_iot.aggregator.heads import CameraHeads
from devit_iot.aggregator.labelling import Labelling
from devit_iot.aggregator.observer import Nobody, Observer, Observers
from devit_iot.aggregator.states import States
from devit_iot.bundle.reading import Bundle
from devit_iot.config.config import AggregatorConfig, Config, ImagesConfig, NodeConfig
from devit_iot.config.early import EarlyChoice
from devit_iot.energy.meter import EnergyMeter
from devit_iot.engine.base import Engine, load_engine
from devit_iot.node.computing import Served
from devit_iot.node.instruments import Instruments
from devit_iot.node.node import Node
from devit_iot.node.sensors import Sensors
from devit_iot.protocol.feature import Feature
from devit_iot.protocol.label import Label
from devit_iot.protocol.status import AggregatorStatus, NodeStatus
from devit_iot.protocol.topics import Topics
from devit_iot.service.counters import Counters
from devit_iot.transport.base import Message, Will
from devit_iot.transport.memory import MemoryBroker, MemoryTransport

TOPICS = Topics("test")
IMAGES = (ImagesConfig("cameras/{camera}/image"), ImagesConfig("cameras/{camera}/image/{request}"))


class Runs(Protocol):
    def run(self) -> None: ...

    def stop(self) -> None: ...


@contextmanager
def running(*services: Runs) -> Iterator[None]:
    """Run each service on a thread of its own; end them all on leaving."""
    threads = [threading.Thread(target=service.run) for service in services]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for service in services:
            service.stop()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()


def make_node(
    broker: MemoryBroker,
    bundle: Bundle,
    part: int,
    *,
    name: str = "",
    engine: Engine | None = None,
    config: NodeConfig | None = None,
    images: Sequence[ImagesConfig] = IMAGES,
    exit_process: Callable[[], None] = lambda: None,
    transport: MemoryTransport | None = None,
    sensors: Sensors | None = None,
    energy: EnergyMeter | None = None,
    shards: int = 1,
) -> Node:
    name = name or f"node-{part}"
    identity = NodeStatus(
        state="online",
        node=name,
        part=part,
        parts=len(bundle.manifest.parts),
        fingerprint=bundle.manifest.fingerprint,
    )
    will = Will(TOPICS.node_status(name), identity.gone().encode())
    return Node(
        Served(
            identity,
            bundle.part(part).spec,
            engine or load_engine(bundle.read_part(part), threads=1),
        ),
        transport or MemoryTransport(broker, will=will),
        topics=TOPICS,
        config=Config(images=tuple(images), node=config or NodeConfig(), shards=shards),
        instruments=Instruments(sensors or Sensors(), energy or EnergyMeter(firmware=lambda: "")),
        exit_process=exit_process,
    )


def make_aggregator(
    broker: MemoryBroker,
    bundle: Bundle,
    *,
    transport: MemoryTransport | None = None,
    observer: Observer | None = None,
    fusions: Fusions | None = None,
    heads: Config | None = None,
    early: EarlyChoice | None = None,
    counters: Counters | None = None,
    **config: float,
) -> Aggregator:
    identity = AggregatorStatus(
        state="online",
        shard="0/1",
        fingerprint=bundle.manifest.fingerprint,
        parts=len(bundle.manifest.parts),
    )
    transport = transport or MemoryTransport(broker)
    chosen = heads or Config()
    held = fusions or Fusions((CameraHeads(bundle, chosen.head_choice),))
    planner = CropPlanner(held.plan, transport, TOPICS)
    return Aggregator(
        identity,
        held,
        transport,
        topics=TOPICS,
        config=msgspec.convert({"deadline_s": 5.0, **config}, AggregatorConfig),
        every_lifetime_s=10.0,
        labelling=Labelling(
            early or EarlyChoice(),
            States(chosen.state_rule, transport, topics=TOPICS, shard=0, shards=1),
            counters or Counters(logging.getLogger("test")),
        ),
        observer=Observers(planner, observer or Nobody()),
    )


def listen(broker: MemoryBroker, topic_filter: str) -> list[Message]:
    """What comes from now on; only a message of QoS 1 has a receipt."""
    heard: list[Message] = []
    transport = MemoryTransport(broker)
    transport.subscribe(topic_filter, heard.append, qos=1, manual_ack=True)
    transport.start(on_ready=lambda: None, on_refused=lambda _: None)
    return heard


def features(broker: MemoryBroker) -> list[Feature]:
    return [Feature.decode(payload) for topic, payload in broker.log if "/features/" in topic]


def labels(broker: MemoryBroker) -> list[Label]:
    return [Label.decode(payload) for topic, payload in broker.log if "/labels/" in topic]


def node_status(broker: MemoryBroker, name: str = "node-0") -> NodeStatus:
    return NodeStatus.decode(broker.retained[TOPICS.node_status(name)])


def aggregator_status(broker: MemoryBroker, shard: int = 0) -> AggregatorStatus:
    return AggregatorStatus.decode(broker.retained[TOPICS.aggregator_status(shard)])
