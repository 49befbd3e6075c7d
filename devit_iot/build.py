"""The composition root of a node: a configuration becomes a service, and what others need for it.

An aggregator has a root of its own, so that a board loads nothing of it.
"""

import os
import platform
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import msgspec

from devit_iot import __version__
from devit_iot.bundle.calibration import calibrated_order
from devit_iot.bundle.manifest import PartEntry
from devit_iot.bundle.memory import part_bytes
from devit_iot.bundle.reading import Bundle
from devit_iot.config.board_profile import read_profile
from devit_iot.config.config import Config, read_password
from devit_iot.energy.meter import EnergyMeter
from devit_iot.engine.base import available_isas, load_engine
from devit_iot.errors import ConfigError
from devit_iot.node import node
from devit_iot.node.computing import Served
from devit_iot.node.instruments import Instruments
from devit_iot.node.memory import overhead_bytes
from devit_iot.node.node import Node
from devit_iot.node.sensors import Sensors
from devit_iot.protocol.board import BoardProfile
from devit_iot.protocol.status import NodeStatus
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import NO_SESSION, Session, Transport, Will
from devit_iot.transport.mqtt import MqttTransport

EXIT_HUNG = 70
"""Exit code of a node whose inference hung: sysexits.h's internal software error."""


def build_node(config: Config, environment: Mapping[str, str]) -> Node:
    """Load the part, prove the engine on the golden image, and wire the node up.

    Raises:
        BundleError, EngineError, ConfigError: with what to do about it.
    """
    served = load_part(config, bundle_folder(config), config.node.part or 0)
    return node_of(config, served, node_transport(config, environment, served.identity))


def load_part(config: Config, folder: Path, part: int) -> Served:
    """The part of a bundle, its engine proven on the golden image.

    Raises:
        BundleError, EngineError, ConfigError: with what to do about it.
    """
    if config.trust and config.node.engine == "tflite":
        raise ConfigError("a bundle's signature covers no .tflite file: use the native engine")
    pinned = pinned_part(config)
    bundle = Bundle(folder, trust=config.trust)
    config = msgspec.structs.replace(config, node=msgspec.structs.replace(config.node, part=part))
    check_memory(config, bundle.part(part))
    read = bundle.read_part(part)
    engine = load_engine(
        read,
        name=config.node.engine,
        threads=config.node.threads,
        isa=config.node.isa,
        dtype=config.node.dtype or None,
    )
    identity = NodeStatus(
        state="online",
        node=config.node_name,
        part=part,
        parts=len(bundle.manifest.parts),
        fingerprint=bundle.manifest.fingerprint,
        replica=config.node.replica,
        version=__version__,
        engine=f"{engine.name} ({engine.detail})",
        machine=platform.machine(),
        parts_fingerprint=bundle.parts_fingerprint.hex(),
        board=board_of(config),
        pinned=pinned,
    )
    return Served(identity, read.spec, engine, calibrated_order(bundle))


def pinned_part(config: Config) -> int | None:
    """The part that the hub must give this node; None: it has no hub, or the hub chooses."""
    return config.node.part if config.store else None


def node_transport(
    config: Config, environment: Mapping[str, str], identity: NodeStatus
) -> MqttTransport:
    """The connection of a node that takes images."""
    return member_transport(config, environment, identity, image_session(config))


def image_session(config: Config) -> Session:
    """What the broker keeps for who takes images."""
    # Messages that are somewhat too long come through, to be counted.
    longest = NO_SESSION.max_packet + 2 * config.node.max_payload_bytes
    session = NO_SESSION._replace(max_packet=longest)
    if _has_every(config):
        session = session._replace(expiry_s=config.broker.session_s, window=node.RECEIVE_MAXIMUM)
    return session


def member_transport(
    config: Config, environment: Mapping[str, str], identity: NodeStatus, session: Session
) -> MqttTransport:
    """The connection of a node, whose will says that it is gone."""
    topics = Topics(config.fleet)
    will = Will(topics.node_status(identity.node), identity.gone().encode())
    client_id = topics.node_client_id(identity.node)
    return connection(config, environment, client_id, will, session)


def node_of(config: Config, served: Served, transport: Transport) -> Node:
    """A node that serves ``served`` over ``transport``, which is not started yet."""
    board = served.identity.board
    return Node(
        served,
        transport,
        topics=Topics(config.fleet),
        config=config,
        instruments=Instruments(Sensors(), EnergyMeter(0.0 if board is None else board.watts)),
        exit_process=partial(os._exit, EXIT_HUNG),
    )


def bundle_folder(config: Config) -> Path:
    """The folder of the fleet's bundle; ConfigError, with what to do about it, if none is named."""
    if not config.bundle:
        raise ConfigError(
            "no bundle: give --bundle DIR, DEVIT_BUNDLE, or bundle = ... in the file; in a fleet "
            "with a hub give --store DIR instead"
        )
    return Path(config.bundle)


def check_memory(config: Config, entry: PartEntry) -> None:
    """Refuse in words what the kernel's out-of-memory killer would refuse with SIGKILL."""
    limits = config.node
    needed = _memory_mib(config, entry)
    if needed > limits.memory_mib:
        part = "its part" if limits.part is None else f"part {limits.part}"
        raise ConfigError(
            f"{part} may need {needed} MiB and node.memory_mib is {limits.memory_mib}: "
            "choose a smaller part, lower max_pixels, max_payload_bytes, max_cameras or "
            "max_waiting_mib, or raise it"
        )


def has_room(config: Config, entry: PartEntry, beside: PartEntry) -> bool:
    """Whether a part may be loaded while another one serves."""
    return _memory_mib(config, entry, beside) <= config.node.memory_mib


def _memory_mib(config: Config, *entries: PartEntry) -> int:
    """MiB that a node with these parts in memory may need."""
    limits = config.node
    parts = sum(
        part_bytes(entry.spec, entry.weights.size, limits.dtype or entry.dtype) for entry in entries
    )
    cascade = any(entry.mode == "cascade" for entry in config.images)
    overhead = overhead_bytes(limits, every=_has_every(config), cascade=cascade)
    return -(-(overhead + parts) // 2**20)


def board_of(config: Config) -> BoardProfile:
    """What the node announces of its board: the measured profile, or what is known without one."""
    limits, cores = config.node, len(os.sched_getaffinity(0))
    if limits.profile:
        board = read_profile(Path(limits.profile))
    else:
        board = BoardProfile(
            config.node_name,
            machine=platform.machine(),
            cores=cores,
            threads=limits.threads or cores,
            isas=available_isas(),
        )
    return msgspec.structs.replace(
        board,
        name=config.node_name,
        memory_mib=limits.memory_mib,
        overhead_mib=-(-overhead_bytes(limits, every=_has_every(config)) // 2**20),
    )


def _has_every(config: Config) -> bool:
    """Whether some camera is of ``every``."""
    return any(images.delivery == "every" for images in config.images)


def connection(
    config: Config,
    environment: Mapping[str, str],
    client_id: str,
    will: Will | None,
    session: Session,
) -> MqttTransport:
    """A connection to the fleet's broker that is not started yet.

    Raises:
        ConfigError: the password cannot be read.
    """
    password = read_password(config.broker, environment)
    return MqttTransport(
        config.broker, client_id=client_id, password=password, will=will, session=session
    )
