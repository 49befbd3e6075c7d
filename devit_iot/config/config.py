"""One TOML file for a whole fleet, read into frozen structs.

Later layers win: built-in defaults, the board's file, the config file, DEVIT_* variables, options.
Paths in a file count from the file's folder.
"""

import itertools
import socket
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from devit_iot.bundle.signature import check_trust
from devit_iot.config.camera_apps import preset_filters
from devit_iot.config.hub import HubConfig
from devit_iot.config.listen import metrics_address
from devit_iot.config.old_keys import rename_old_keys
from devit_iot.errors import ConfigError
from devit_iot.keys import check_keys
from devit_iot.limits import MAX_PIXELS
from devit_iot.protocol.topics import (
    DEFAULT_IMAGE_FILTERS,
    DISCOVERY_PREFIX,
    DiscoveryTopics,
    ImageFilter,
    check_name,
)
from devit_iot.text_file import read_text

_MAX_THREADS = 1024
_TLS_FILES = ("ca_file", "cert_file", "key_file")
_MIN_HANG_S = 5.0  # an idle node shows a sign of life once a second
_MIN_KEEPALIVE_S = 2  # a link is checked once a second
_MAX_KEEPALIVE_S = 65535  # MQTT's
_MAX_SESSION_S = 2**32 - 1  # which means for ever, and the memory for it is bounded


Delivery = Literal["latest", "every"]


class BrokerConfig(msgspec.Struct, frozen=True):
    """``[broker]``: how to reach the MQTT broker.

    Attributes:
        url: mqtt://host[:port], or mqtts:// for TLS; ports 1883 and 8883 unless given.
        username: user name, if the broker asks for one.
        password_file: file whose first line is the password; DEVIT_PASSWORD goes first.
        ca_file: certificate authority of an mqtts broker; the system's unless given.
        cert_file: our certificate, for a broker that asks for one.
        key_file: its private key, without a password.
        keepalive_s: seconds between pings; a dead link is noticed within 1.5 of it.
        queue: QoS 1 messages kept while the broker is away; later ones are dropped and counted.
        persist_s: how long after its acknowledgement a message may still be missing on the
            broker's disk. Younger messages of ``every`` are sent again when the broker was lost.
            Twice mosquitto's autosave_interval.
        session_s: how long the broker keeps images and features of ``every`` for a service that
            is away.
    """

    url: str = "mqtt://localhost:1883"
    username: str = ""
    password_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    keepalive_s: int = 30
    queue: int = 100
    persist_s: float = 10.0
    session_s: int = 3600


class ImagesConfig(msgspec.Struct, frozen=True):
    """``[[images]]``: one filter of image topics.

    Attributes:
        topic: filter with MQTT wildcards, ``{camera}`` and ``{request}``.
        retained: whether retained images count; they are old by nature, so by default not.
        delivery: ``latest``: a node that falls behind drops older images of a camera. ``every``:
            each image that the camera publishes at QoS 1 gets its label, however long it takes.
        max_rate: images per second and camera; further ones are dropped. 0: no limit.
        incomplete: ``refuse`` or ``take`` a JPEG whose data end early: the rest of its picture is
            grey.
    """

    topic: str
    retained: bool = False
    delivery: Delivery = "latest"
    max_rate: float = 0.0
    incomplete: Literal["refuse", "take"] = "refuse"


class NodeConfig(msgspec.Struct, frozen=True):
    """``[node]``: one edge node.

    Attributes:
        name: unique in the fleet; the host's name unless given.
        part: index of the part to run.
        replica: ``i/n``: serve every n-th request, the i-th of n nodes with the same part.
        engine: what computes: native, tflite or torch.
        isa: instruction set to force, for instance ``scalar``; empty: the best one.
        dtype: what to compute in; empty: what the part is stored in.
        threads: CPU threads of one inference; 0: all of the board.
        memory_mib: MiB that the node may count on; a part that needs more is refused at start.
        max_pixels: larger images are refused by their header; a JPEG counts as it is decoded.
        max_payload_bytes: larger messages are refused unread.
        max_cameras: frames of further cameras are refused.
        max_age_s: an image of ``latest`` that waited longer is not computed.
        max_waiting_mib: MiB of images of ``every`` that wait in memory; further ones stay with
            the broker.
        hang_s: an image that takes longer ends the node, for the service manager to restart.
    """

    name: str = ""
    part: int = 0
    replica: str = "0/1"
    engine: str = "native"
    isa: str = ""
    dtype: Literal["", "float32", "float16", "int8"] = ""
    threads: int = 0
    memory_mib: int = 4096
    max_pixels: int = MAX_PIXELS
    max_payload_bytes: int = 16 * 2**20
    max_cameras: int = 64
    max_age_s: float = 10.0
    max_waiting_mib: int = 64
    hang_s: float = 60.0


class AggregatorConfig(msgspec.Struct, frozen=True):
    """``[aggregator]``: fusion.

    Attributes:
        shard: which of the fleet's ``shards`` this aggregator is.
        deadline_s: after the first feature, how long to wait for the other parts at most.
        min_deadline_s: and at least, however fast the fleet is.
        every_deadline_s: likewise for requests of ``every``, which do not adapt to the fleet.
        lifetime_s: how long a request is remembered, to tell late and duplicate features; one of
            ``every`` for broker.session_s, as long as it may be delivered again.
        max_open: requests waiting for parts; beyond it the oldest is answered at once.
        max_open_per_camera: likewise of one camera.
        min_parts: fewer parts make no label.
    """

    shard: int = 0
    deadline_s: float = 1.0
    min_deadline_s: float = 0.1
    every_deadline_s: float = 30.0
    lifetime_s: float = 10.0
    max_open: int = 1024
    max_open_per_camera: int = 256
    min_parts: int = 1


class HomeAssistantConfig(msgspec.Struct, frozen=True):
    """``[homeassistant]``: what the aggregators announce to it.

    Attributes:
        enabled: whether they do.
        prefix: of the topics where it looks for devices.
        expire_s: without a label for so long, a camera's entities become unavailable; 0: never,
            for cameras that send an image only when something happens.
    """

    enabled: bool = True
    prefix: str = DISCOVERY_PREFIX
    expire_s: int = 0


class LogConfig(msgspec.Struct, frozen=True):
    """``[log]``: one line per event on standard error.

    Attributes:
        format: for people, or one JSON object a line.
        level: the least severe events that are logged.
    """

    format: Literal["human", "json"] = "human"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(msgspec.Struct, frozen=True):
    """The whole file.

    Attributes:
        fleet: the fleet's name, part of every topic.
        bundle: folder of the fleet bundle.
        store: folder in which a service keeps the bundles that it gets from the fleet's hub;
            instead of ``bundle``.
        trust: public key, 64 hex digits, that must have signed the bundle; empty: any bundle.
        shards: number of aggregators that share the requests.
        metrics: ``[host]:port`` on which to serve Prometheus and health checks; empty: do not.
        broker: how to reach the MQTT broker.
        camera_apps: camera apps by name, whose image topics are listened to.
        images: filters of image topics; given ones, or ``camera_apps``, replace the defaults.
        node: one edge node.
        aggregator: fusion.
        homeassistant: what the aggregators announce to it.
        hub: keeps the releases and drives updates.
        log: of every service.
    """

    fleet: str = "home"
    bundle: str = ""
    store: str = ""
    trust: str = ""
    shards: int = 1
    metrics: str = ""
    camera_apps: tuple[str, ...] = ()
    broker: BrokerConfig = BrokerConfig()
    images: tuple[ImagesConfig, ...] = tuple(ImagesConfig(topic) for topic in DEFAULT_IMAGE_FILTERS)
    node: NodeConfig = NodeConfig()
    aggregator: AggregatorConfig = AggregatorConfig()
    homeassistant: HomeAssistantConfig = HomeAssistantConfig()
    hub: HubConfig = HubConfig()
    log: LogConfig = LogConfig()

    @property
    def node_name(self) -> str:
        """The configured name, or the host's."""
        return self.node.name or socket.gethostname().split(".")[0]


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


def read_password(broker: BrokerConfig, environment: Mapping[str, str]) -> str | None:
    """The broker's password: DEVIT_PASSWORD, else the first line of ``password_file``."""
    if "DEVIT_PASSWORD" in environment:
        return environment["DEVIT_PASSWORD"]
    if not broker.password_file:
        return None
    try:
        lines = read_text(Path(broker.password_file)).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read broker.password_file: {error}") from error
    if not lines:
        raise ConfigError(f"broker.password_file {broker.password_file} is empty")
    return lines[0]


def fraction(text: str, what: str) -> tuple[int, int]:
    """Parse ``i/n`` with 0 <= i < n."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise ConfigError(f"{what} '{text}' is not i/n with 0 <= i < n, for instance 0/2")
    return int(index), int(count)


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
    _anchor(table.get("broker"), ("password_file", *_TLS_FILES), file.parent)
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
    fraction(config.node.replica, "node.replica")
    if config.metrics:
        metrics_address(config.metrics)
    metrics_address(config.hub.listen, "hub.listen")
    DiscoveryTopics(config.homeassistant.prefix)
    filters = [ImageFilter(images.topic) for images in config.images]
    for one, two in itertools.combinations(filters, 2):
        if one.overlaps(two):
            raise ConfigError(f"images: '{one.pattern}' and '{two.pattern}' match the same topics")
    rules = (
        (config.shards >= 1, "shards must be at least 1"),
        (0 <= config.aggregator.shard < config.shards, "aggregator.shard must be below shards"),
        (bool(config.images), "images: at least one filter is needed"),
        (config.node.part >= 0, "node.part must not be negative"),
        (0 <= config.node.threads <= _MAX_THREADS, f"node.threads must be 0 to {_MAX_THREADS}"),
        (config.node.max_pixels > 0, "node.max_pixels must be positive"),
        (config.node.max_payload_bytes > 0, "node.max_payload_bytes must be positive"),
        (config.node.max_cameras > 0, "node.max_cameras must be positive"),
        (config.node.memory_mib > 0, "node.memory_mib must be positive"),
        (config.node.max_age_s > 0, "node.max_age_s must be positive"),
        (config.node.max_waiting_mib > 0, "node.max_waiting_mib must be positive"),
        (config.node.hang_s >= _MIN_HANG_S, f"node.hang_s must be at least {_MIN_HANG_S:g}"),
        (
            all(images.max_rate >= 0 for images in config.images),
            "images: max_rate must not be negative",
        ),
        (
            _MIN_KEEPALIVE_S <= config.broker.keepalive_s <= _MAX_KEEPALIVE_S,
            f"broker.keepalive_s must be {_MIN_KEEPALIVE_S} to {_MAX_KEEPALIVE_S}",
        ),
        (
            bool(config.broker.cert_file) == bool(config.broker.key_file),
            "broker.cert_file and broker.key_file belong together",
        ),
        (
            config.broker.url.startswith("mqtts:")
            or not any(getattr(config.broker, name) for name in _TLS_FILES),
            "broker.ca_file, cert_file and key_file need TLS: an mqtts:// url",
        ),
        (config.broker.queue > 0, "broker.queue must be positive"),
        (config.broker.persist_s >= 0, "broker.persist_s must not be negative"),
        (
            0 < config.broker.session_s < _MAX_SESSION_S,
            f"broker.session_s must be positive and below {_MAX_SESSION_S}",
        ),
        (config.aggregator.deadline_s > 0, "aggregator.deadline_s must be positive"),
        (config.aggregator.min_deadline_s > 0, "aggregator.min_deadline_s must be positive"),
        (config.aggregator.every_deadline_s > 0, "aggregator.every_deadline_s must be positive"),
        (config.aggregator.min_parts > 0, "aggregator.min_parts must be positive"),
        (
            config.aggregator.max_open_per_camera > 0,
            "aggregator.max_open_per_camera must be positive",
        ),
        (
            config.aggregator.lifetime_s >= config.aggregator.deadline_s,
            "aggregator.lifetime_s must not be below aggregator.deadline_s",
        ),
        (config.aggregator.max_open > 0, "aggregator.max_open must be positive"),
        (config.homeassistant.expire_s >= 0, "homeassistant.expire_s must not be negative"),
        (not (config.bundle and config.store), "bundle and store exclude each other"),
        (
            bool(config.hub.cert_file) == bool(config.hub.key_file),
            "hub.cert_file and hub.key_file belong together",
        ),
        *((number > 0, f"{key} must be positive") for key, number in config.hub.positive.items()),
    )
    for holds, problem in rules:
        if not holds:
            raise ConfigError(f"configuration: {problem}")
