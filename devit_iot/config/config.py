"""One TOML file for a whole fleet, read into frozen structs; each table has a module of its own.

Later layers win: built-in defaults, the board's file, the config file, DEVIT_* variables, options.
Paths in a file count from the file's folder.
"""

import socket
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from devit_iot.bundle.head import check_head_name
from devit_iot.bundle.signature import check_trust
from devit_iot.config.aggregator import AggregatorConfig
from devit_iot.config.broker import TLS_FILES, BrokerConfig, read_password
from devit_iot.config.camera_apps import preset_filters
from devit_iot.config.collect import CollectConfig
from devit_iot.config.crops import CropConfig
from devit_iot.config.early import EarlyChoice
from devit_iot.config.heads import FilterHeads, HeadChoice
from devit_iot.config.homeassistant import HomeAssistantConfig
from devit_iot.config.hub import HubConfig
from devit_iot.config.images import Delivery, ImagesConfig, check_overlaps
from devit_iot.config.listen import metrics_address
from devit_iot.config.log import LogConfig
from devit_iot.config.node import AUTO, NodeConfig, fraction
from devit_iot.config.old_keys import rename_old_keys
from devit_iot.config.rules import Rules, check_rules
from devit_iot.config.states import StateConfig
from devit_iot.config.updates import UpdatesConfig
from devit_iot.errors import ConfigError
from devit_iot.keys import check_keys
from devit_iot.protocol.label import DEFAULT_HEAD
from devit_iot.protocol.topics import DEFAULT_IMAGE_FILTERS, DiscoveryTopics, check_name
from devit_iot.text_file import read_text

__all__ = [
    "AggregatorConfig",
    "BrokerConfig",
    "Config",
    "Delivery",
    "HomeAssistantConfig",
    "ImagesConfig",
    "LogConfig",
    "NodeConfig",
    "fraction",
    "load_config",
    "read_password",
]


class Config(msgspec.Struct, frozen=True):
    """The whole file.

    Attributes:
        fleet: the fleet's name, part of every topic.
        bundle: folder of the fleet bundle.
        store: folder in which a service keeps the bundles that it gets from the fleet's hub;
            instead of ``bundle``.
        trust: public key, 64 hex digits, that must have signed the bundle; empty: any bundle.
        shards: number of aggregators that share the requests.
        cells: whether the broker is an upper one, which shows many cells.
        metrics: ``[host]:port`` on which to serve Prometheus and health checks; empty: do not.
        broker: how to reach the MQTT broker.
        camera_apps: camera apps by name, whose image topics are listened to.
        heads: names of heads by the name of a camera; goes before what ``images`` say.
        crops: rectangles of images that heads look at, by camera (``*``: all others) and head.
        states: when the labels of a head change its steady state, by the head's name.
        images: filters of image topics; given ones, or ``camera_apps``, replace the defaults.
        node: one edge node.
        aggregator: fusion.
        homeassistant: what the aggregators announce to it.
        hub: the process that keeps the releases and drives updates.
        updates: who decides which releases are installed.
        collect: the process that keeps pictures to teach from.
        log: how every service logs.
    """

    fleet: str = "home"
    bundle: str = ""
    store: str = ""
    trust: str = ""
    shards: int = 1
    cells: bool = False
    metrics: str = ""
    camera_apps: tuple[str, ...] = ()
    heads: dict[str, tuple[str, ...]] = {}
    crops: dict[str, dict[str, CropConfig]] = {}
    states: dict[str, StateConfig] = {}
    broker: BrokerConfig = BrokerConfig()
    images: tuple[ImagesConfig, ...] = tuple(ImagesConfig(topic) for topic in DEFAULT_IMAGE_FILTERS)
    node: NodeConfig = NodeConfig()
    aggregator: AggregatorConfig = AggregatorConfig()
    homeassistant: HomeAssistantConfig = HomeAssistantConfig()
    hub: HubConfig = HubConfig()
    updates: UpdatesConfig = UpdatesConfig()
    collect: CollectConfig = CollectConfig()
    log: LogConfig = LogConfig()

    @property
    def node_name(self) -> str:
        """The configured name, or the host's."""
        return self.node.name or socket.gethostname().split(".")[0]

    @property
    def head_choice(self) -> HeadChoice:
        """Which heads answer for which camera."""
        filters = [FilterHeads(i.topic, i.head, i.heads) for i in self.images]
        return HeadChoice(self.heads, filters, self.crops)

    def state_rule(self, head: str) -> StateConfig | None:
        """When the labels of a head change its steady state; None: it has none.

        A head that was taught has one unless told otherwise. A bundle's own fusion, which may have
        a thousand classes, has one only if the file has a table for it.
        """
        return self.states.get(head, None if head == DEFAULT_HEAD else StateConfig())

    @property
    def early_choice(self) -> EarlyChoice:
        """Which cameras get their label before all parts have answered."""
        return EarlyChoice(self.images)

    def rules(self) -> Rules:
        """What must hold, and what is wrong where it does not."""
        return (
            (self.shards >= 1, "shards must be at least 1"),
            (0 <= self.aggregator.shard < self.shards, "aggregator.shard must be below shards"),
            (bool(self.images), "images: at least one filter is needed"),
            *self.node.rules(),
            *(rule for images in self.images for rule in images.rules()),
            *(
                rule
                for crops in self.crops.values()
                for crop in crops.values()
                for rule in crop.rules()
            ),
            *(rule for state in self.states.values() for rule in state.rules()),
            *self.broker.rules(),
            *self.aggregator.rules(),
            *self.homeassistant.rules(),
            *self.hub.rules(),
            *self.updates.rules(),
            *self.collect.rules(),
            (not (self.bundle and self.store), "bundle and store exclude each other"),
        )


def load_config(files: Sequence[Path], overrides: Mapping[str, object]) -> Config:
    """Merge ``files`` in turn, then ``overrides``, and check everything.

    Args:
        files: TOML files, later ones win.
        overrides: dotted key such as ``node.part`` -> value; None means not given.

    Raises:
        ConfigError: a file cannot be read or parsed, a key is unknown, a value is of a wrong type
            or out of range.
    """
    merged: dict[str, Any] = {}
    for file in files:
        _merge(merged, _read(file))
    for key, value in overrides.items():
        if value is not None:
            table, _, name = key.rpartition(".")
            layer = {table: {name: value}} if table else {name: value}
            check_keys(layer, Config, "", "options")
            _merge(merged, layer)
    try:
        config = msgspec.convert(merged, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"configuration: {error}") from error
    if config.camera_apps:
        config = _with_camera_apps(config, config.images if "images" in merged else ())
    _validate(config)
    return config


def _with_camera_apps(config: Config, given: Sequence[ImagesConfig]) -> Config:
    """Listen to the camera apps too; a filter that is ``given`` as well is as it is given."""
    topics = {images.topic for images in given}
    wanted = (topic for topic in preset_filters(config.camera_apps) if topic not in topics)
    return msgspec.structs.replace(config, images=(*map(ImagesConfig, wanted), *given))


def _read(file: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(read_text(file))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {file}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error
    rename_old_keys(table, str(file))
    check_keys(table, Config, "", str(file))
    _anchor(table, ("bundle", "store"), file.parent)
    _anchor(
        table.get("hub"), ("folder", "token_file", "cert_file", "key_file", "crl_file"), file.parent
    )
    _anchor(table.get("node"), ("profile",), file.parent)
    _anchor(table.get("updates"), ("root_file", "key_file"), file.parent)
    _anchor(table.get("collect"), ("folder", "key"), file.parent)
    _anchor(table.get("broker"), ("password_file", *TLS_FILES), file.parent)
    return table


def _anchor(table: object, names: Sequence[str], folder: Path) -> None:
    """Make relative paths count from ``folder``; what is no string fails in the conversion."""
    if isinstance(table, dict):
        for name in names:
            if isinstance(table.get(name), str) and table[name]:
                table[name] = str(folder / table[name])


def _merge(target: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = value


def _validate(config: Config) -> None:
    check_name("fleet", config.fleet)
    check_name("node", config.node_name)
    if config.trust:
        check_trust(config.trust)
    if config.node.replica != AUTO:
        fraction(config.node.replica, "node.replica")
    if config.metrics:
        metrics_address(config.metrics)
    metrics_address(config.hub.listen, "hub.listen")
    DiscoveryTopics(config.homeassistant.prefix)
    check_overlaps(config.images)
    for head in config.states:
        check_head_name(head)
    _ = config.head_choice, config.early_choice  # they check what they are made of
    check_rules(config.rules())
