"""The composition root of an aggregator: a configuration becomes a service."""

from collections.abc import Mapping

from devit_iot import __version__
from devit_iot.aggregator import aggregator
from devit_iot.aggregator.aggregator import Aggregator
from devit_iot.aggregator.crop_plan import CropPlanner
from devit_iot.aggregator.fusions import Fusions
from devit_iot.aggregator.head_taker import HeadTaker
from devit_iot.aggregator.heads import CameraHeads
from devit_iot.aggregator.labelling import Labelling
from devit_iot.aggregator.looker import Looker
from devit_iot.aggregator.observer import Nobody, Observers
from devit_iot.aggregator.states import States
from devit_iot.build import bundle_folder, connection, image_session
from devit_iot.bundle.reading import Bundle
from devit_iot.config.config import Config
from devit_iot.homeassistant.announcer import Announcer
from devit_iot.homeassistant.devices import Devices
from devit_iot.protocol.head_message import MAX_HEAD_MESSAGE
from devit_iot.protocol.looks import LookTopics
from devit_iot.protocol.status import AggregatorStatus
from devit_iot.protocol.topics import DiscoveryTopics, Topics
from devit_iot.service.counters import Counters
from devit_iot.transport.base import NO_SESSION, Session, Transport, Will
from devit_iot.transport.mqtt import MqttTransport


def build_aggregator(config: Config, environment: Mapping[str, str]) -> Aggregator:
    """Load the heads and wire the aggregator up.

    Raises:
        BundleError, ConfigError: with what to do about it.
    """
    bundle = Bundle(bundle_folder(config), trust=config.trust)
    heads = CameraHeads(bundle, config.head_choice)
    if config.early_choice.any:
        heads.calibrate()
    identity = aggregator_identity(config, heads.fingerprint, heads.parts)
    transport = aggregator_transport(config, environment, identity)
    looking = looking_transport(config, environment)
    return aggregator_of(config, identity, Fusions((heads,)), transport, looking)


def aggregator_identity(config: Config, fingerprint: str, parts: int) -> AggregatorStatus:
    """What an aggregator says of itself, without counters."""
    return AggregatorStatus(
        state="online",
        shard=f"{config.aggregator.shard}/{config.shards}",
        fingerprint=fingerprint,
        parts=parts,
        version=__version__,
    )


def aggregator_transport(
    config: Config, environment: Mapping[str, str], identity: AggregatorStatus
) -> MqttTransport:
    """The connection of an aggregator, whose will says that it is gone."""
    topics = Topics(config.fleet)
    shard = config.aggregator.shard
    will = Will(topics.aggregator_status(shard), identity.gone().encode())
    client_id = topics.aggregator_client_id(shard)
    session = Session(
        config.broker.session_s,
        aggregator.RECEIVE_MAXIMUM,
        NO_SESSION.max_packet + MAX_HEAD_MESSAGE,
    )
    return connection(config, environment, client_id, will, session)


def looking_transport(config: Config, environment: Mapping[str, str]) -> MqttTransport | None:
    """The connection on which an aggregator looks at images; None if no head looks sometimes."""
    if not config.head_choice.looks_anywhere:
        return None
    client_id = LookTopics(config.fleet).client_id(config.aggregator.shard)
    return connection(config, environment, client_id, None, image_session(config))


def aggregator_of(
    config: Config,
    identity: AggregatorStatus,
    fusions: Fusions,
    transport: Transport,
    looking: Transport | None,
) -> Aggregator:
    """An aggregator over ``transport``, which is not started yet; it looks at images on another.

    ``looking`` is that other connection, not started either; None: it looks at no images.
    """
    topics = Topics(config.fleet)
    shard, shards = config.aggregator.shard, config.shards
    planner = CropPlanner(fusions.plan, transport, topics)
    announcer = _announcer(config, transport) if config.homeassistant.enabled else Nobody()
    counters = Counters(aggregator.logger)
    names = [name for heads in fusions.all for name in heads.names]
    states = States(
        config.state_rule, transport, topics=topics, shard=shard, shards=shards, heads=names
    )
    looker = Nobody() if looking is None else Looker(config, looking, counters)
    taker = HeadTaker(fusions, transport, topics=topics, shard=shard, counters=counters)
    return Aggregator(
        identity,
        fusions,
        transport,
        topics=topics,
        config=config.aggregator,
        every_lifetime_s=config.broker.session_s,
        labelling=Labelling(config.early_choice, states, counters),
        observer=Observers(planner, announcer, taker, looker),
    )


def _announcer(config: Config, transport: Transport) -> Announcer:
    devices = Devices(
        config.fleet,
        shards=config.shards,
        version=__version__,
        label_expire_s=config.homeassistant.expire_s,
        has_hub=bool(config.store),
    )
    topics = DiscoveryTopics(config.homeassistant.prefix)
    return Announcer(devices, transport, topics=topics, state_rule=config.state_rule)
