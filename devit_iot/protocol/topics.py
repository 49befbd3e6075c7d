"""The topic tree. No topic string exists anywhere else. Normative: docs/protocol.md.

<any>                                     images in, chosen by image filters
devit/v1/<fleet>/features/<shard>/<node>  Feature, binary
devit/v1/<fleet>/labels/<camera>          Label of a camera's main head, JSON, retained
devit/v1/<fleet>/labels/<camera>/<head>   Label of another head, JSON, retained
devit/v1/<fleet>/states/<camera>/<head>   SteadyState, JSON, retained
devit/v1/<fleet>/nodes/<node>/status      NodeStatus, JSON, retained; last will = offline
devit/v1/<fleet>/aggregators/<shard>/status  AggregatorStatus, as NodeStatus
devit/v1/<fleet>/crops                    CropPlan, JSON, retained: what nodes compute of images
devit/v1/<fleet>/looks/...                image of which nodes compute one crop: looks.py
devit/v1/<fleet>/enough/<shard>           request id of an image that has its label, 16 bytes
devit/v1/<fleet>/release                  Rollout, JSON, retained: what the hub wants served
devit/v1/<fleet>/hub/status               HubStatus, JSON, retained; last will = offline
devit/v1/<fleet>/hub/command              what people ask of the hub
devit/v1/<fleet>/nodes/<node>/update      UpdateStatus, JSON, retained
devit/v1/<fleet>/aggregators/<shard>/update  UpdateStatus, JSON, retained
devit/v1/<fleet>/heads/<head>             HeadMessage, JSON, retained: what shall answer
devit/v1/<fleet>/aggregators/<shard>/heads  HeadsReport, JSON, retained: what does
devit/v1/<fleet>/teach/state              TeachState, JSON, retained: what is collected
devit/v1/<fleet>/teach/ask/<tab>          TeachAsk, JSON: what a person wants done
devit/v1/<fleet>/teach/answer/<tab>       TeachAnswer, JSON
homeassistant/device/<id>/config          what Home Assistant is told of a device, retained
homeassistant/status                      what Home Assistant says when it starts or ends
cells/<cell>/<any>                        what a cell says to an upper broker: cells.py
"""

import re

import msgspec

from devit_iot.errors import ConfigError, MessageError
from devit_iot.protocol.text import is_camera, shown

PREFIX = "devit/v1"
CAMERA_LEVEL = "{camera}"
REQUEST_LEVEL = "{request}"
MAX_TOPIC_BYTES = 512
DISCOVERY_PREFIX = "homeassistant"
HOME_ASSISTANT_STATUS = "homeassistant/status"
DEFAULT_IMAGE_FILTERS = (
    "cameras/{camera}/image",
    "cameras/{camera}/image/{request}",
    "frigate/{camera}/{camera}/snapshot",
)
_WILD = {CAMERA_LEVEL, REQUEST_LEVEL, "+", "#"}
_MAX_MQTT_BYTES = 65535
# Control characters, halves of UTF-16 letters and non-characters: brokers hang up for them.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_PREFIX = re.compile(r"(?=.{1,128}$)[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_REQUEST = re.compile(r"[0-9a-f]{32}")


def check_name(kind: str, name: str) -> str:
    """Return ``name`` if it can be a fleet's or a node's name, else raise ConfigError."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{kind} '{name}' is not a usable name: use 1 to 64 of A-Z a-z 0-9 . _ -, "
            "a letter or digit first"
        )
    return name


def check_topic(topic: str) -> str:
    """Return ``topic`` if images can be published to it, else raise ConfigError."""
    for problem, is_so in (
        ("is empty", not topic),
        ("has a wildcard, + or #, which only subscriptions may have", set("+#") & set(topic)),
        (f"has {CAMERA_LEVEL}: write the camera's name", CAMERA_LEVEL in topic),
        ("has characters that MQTT does not allow", _FORBIDDEN.search(topic)),
        ("begins with $, which is the broker's own", topic.startswith("$")),
        (
            f"is longer than {_MAX_MQTT_BYTES} bytes",
            len(topic.replace(REQUEST_LEVEL, "0" * 32).encode(errors="replace")) > _MAX_MQTT_BYTES,
        ),
    ):
        if is_so:
            raise ConfigError(f"topic '{shown(topic)}' {problem}; for instance cameras/door/image")
    return topic


class Topics(msgspec.Struct, frozen=True):
    """The topics of one fleet."""

    fleet: str

    def __post_init__(self) -> None:
        check_name("fleet", self.fleet)

    @property
    def base(self) -> str:
        """What every topic of the fleet begins with."""
        return f"{PREFIX}/{self.fleet}"

    def feature(self, shard: int | str, node: str) -> str:
        """Where ``node`` publishes the features of one aggregator's requests."""
        return f"{self.base}/features/{shard}/{node}"

    def features(self, shard: int | str) -> str:
        """Filter of every feature for one aggregator."""
        return self.feature(shard, "+")

    def label(self, camera: str) -> str:
        """Where the labels of one camera appear."""
        return f"{self.base}/labels/{camera}"

    @property
    def labels(self) -> str:
        """Filter of the label of every camera's main head."""
        return self.label("+")

    def head_label(self, camera: str, head: str) -> str:
        """Where the labels of one camera by one head that is not its main one appear."""
        return f"{self.label(camera)}/{head}"

    @property
    def head_labels(self) -> str:
        """Filter of every label by a head that is not its camera's main one."""
        return self.head_label("+", "+")

    def state(self, camera: str, head: str) -> str:
        """Where the steady state of one head on one camera appears."""
        return f"{self.base}/states/{camera}/{head}"

    @property
    def states(self) -> str:
        """Filter of every steady state."""
        return self.state("+", "+")

    def enough(self, shard: int | str) -> str:
        """Where one aggregator says which images need no further part."""
        return f"{self.base}/enough/{shard}"

    @property
    def all_enough(self) -> str:
        """Filter of what every aggregator says of images that need no further part."""
        return self.enough("+")

    def node_status(self, node: str) -> str:
        """Where one node says how it fares."""
        return f"{self.base}/nodes/{node}/status"

    @property
    def node_statuses(self) -> str:
        """Filter of every node's status."""
        return self.node_status("+")

    def aggregator_status(self, shard: int | str) -> str:
        """Where one aggregator says how it fares."""
        return f"{self.base}/aggregators/{shard}/status"

    @property
    def crops(self) -> str:
        """Where the aggregators say what nodes compute of which camera's images."""
        return f"{self.base}/crops"

    @property
    def release(self) -> str:
        """Where the hub says which bundle is served, and which one is next."""
        return f"{self.base}/release"

    @property
    def hub_status(self) -> str:
        """Where the hub says which release the fleet has and could have."""
        return f"{self.base}/hub/status"

    @property
    def hub_command(self) -> str:
        """Where the hub is asked to install what is offered."""
        return f"{self.base}/hub/command"

    def node_update(self, node: str) -> str:
        """Where one node says how far it is with a release."""
        return f"{self.base}/nodes/{node}/update"

    def aggregator_update(self, shard: int | str) -> str:
        """Where one aggregator says how far it is with a release."""
        return f"{self.base}/aggregators/{shard}/update"

    def head(self, name: str) -> str:
        """Where somebody says which version of one head shall answer."""
        return f"{self.base}/heads/{name}"

    @property
    def heads(self) -> str:
        """Filter of every head that shall answer."""
        return self.head("+")

    def aggregator_heads(self, shard: int | str) -> str:
        """Where one aggregator says which heads answer."""
        return f"{self.base}/aggregators/{shard}/heads"

    @property
    def teach_state(self) -> str:
        """Where the process that collects pictures says what it keeps."""
        return f"{self.base}/teach/state"

    def teach_ask(self, tab: str) -> str:
        """Where one tab of a person who teaches says what is to be done."""
        return f"{self.base}/teach/ask/{tab}"

    def teach_answer(self, tab: str) -> str:
        """Where that tab is answered."""
        return f"{self.base}/teach/answer/{tab}"

    @property
    def collector_client_id(self) -> str:
        """The client id of the process that collects pictures."""
        return f"devit-{self.fleet}-collector"

    @property
    def hub_client_id(self) -> str:
        """The client id of the hub."""
        return f"devit-{self.fleet}-hub"

    def node_client_id(self, node: str) -> str:
        """The client id of one node, unique at the broker."""
        return f"devit-{self.fleet}-node-{node}"

    def aggregator_client_id(self, shard: int | str) -> str:
        """The client id of one aggregator."""
        return f"devit-{self.fleet}-aggregator-{shard}"

    def dashboard_client_id(self, tab: str) -> str:
        """The client id of one browser tab; ``tab`` is 8 random hex digits."""
        return f"devit-{self.fleet}-dashboard-{tab}"

    def command_client_id(self, command: str, run: str) -> str:
        """The client id of one run of a command; ``run`` is 8 random hex digits."""
        return f"devit-{self.fleet}-{command}-{run}"

    def doctor_client_id(self, node: str, run: str) -> str:
        """The client id of one run of ``devit doctor``, which comes in as the user of ``node``."""
        return self.command_client_id(f"doctor-{node}", run)

    @staticmethod
    def last_level(topic: str) -> str:
        """The last level of a topic, for instance the name of a head or of a tab."""
        return topic.rpartition("/")[2]

    @staticmethod
    def shard_of(topic: str) -> str:
        """The shard in an aggregator's topic."""
        return topic.split("/")[4]

    @staticmethod
    def node_of(topic: str) -> str:
        """The node's name in a feature or node status topic.

        Raises:
            MessageError: it is not one that a node can have.
        """
        levels = topic.split("/")
        node = levels[5] if levels[3] == "features" else levels[4]
        if not _NAME.fullmatch(node):
            raise MessageError("node", f"no usable node name in topic {topic[:100]!r}")
        return node

    def camera_of(self, topic: str) -> str:
        """The camera of the topic of its main head's label; empty for another topic."""
        camera, head = self.label_of(topic)
        return "" if head else camera

    def label_of(self, topic: str) -> tuple[str, str]:
        """The camera and the head of a label's topic; no head for a label of the main one.

        Both are empty for another topic.
        """
        camera, head = _levels_below(topic, f"{self.base}/labels")
        return camera, head

    def state_of(self, topic: str) -> tuple[str, str]:
        """The camera and the head of a steady state's topic; both empty for another topic."""
        camera, head = _levels_below(topic, f"{self.base}/states")
        return (camera, head) if head else ("", "")


def _levels_below(topic: str, start: str) -> tuple[str, str]:
    """The one or two levels of ``topic`` after ``start``; both empty for another topic."""
    if not topic.startswith(f"{start}/"):
        return "", ""
    first, *rest = topic.removeprefix(f"{start}/").split("/")
    return (first, "".join(rest)) if len(rest) <= 1 else ("", "")


class DiscoveryTopics(msgspec.Struct, frozen=True):
    """Where Home Assistant's MQTT integration looks for devices.

    Raises:
        ConfigError: ``prefix`` cannot begin a topic.
    """

    prefix: str = DISCOVERY_PREFIX

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise ConfigError(
                f"homeassistant.prefix '{self.prefix}' is no beginning of a topic: use 1 to 128 of "
                "A-Z a-z 0-9 . _ - and single '/' between them"
            )

    def device(self, device_id: str) -> str:
        """Where one device is described."""
        return f"{self.prefix}/device/{device_id}/config"

    @property
    def devices(self) -> str:
        """Filter of every device, also of other programs."""
        return self.device("+")

    def device_of(self, topic: str) -> str:
        """The device's id in a topic that :attr:`devices` matches."""
        return topic.removeprefix(f"{self.prefix}/").split("/")[1]


class ImageRoute(msgspec.Struct, frozen=True):
    """What an image's topic says: whose it is and, if declared, which request."""

    camera: str
    request_id: bytes | None


class ImageFilter:
    """Image topics in the notation of the config: MQTT wildcards, some of them named.

    ``{camera}`` is a level that names the camera (several are joined by '-'), ``{request}`` the
    last level if it holds the request id as 32 hex digits. Without ``{camera}`` all wildcard
    levels name the camera, and without wildcards the whole topic does.

    Raises:
        ConfigError: the pattern is not a valid filter.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._levels = pattern.split("/")
        for position, level in enumerate(self._levels):
            last = position == len(self._levels) - 1
            named = level in _WILD
            if (not named and re.search(r"[{}+#\0]", level)) or (level == "#" and not last):
                raise ConfigError(f"image filter '{pattern}': level '{level}' is not valid")
            if level == REQUEST_LEVEL and not last:
                raise ConfigError(f"image filter '{pattern}': {{request}} must be the last level")
        if not pattern.isprintable() or not 1 <= len(pattern.encode()) <= MAX_TOPIC_BYTES:
            raise ConfigError(f"image filter {pattern!r} is empty, too long or not printable")
        self._sources = {CAMERA_LEVEL} if CAMERA_LEVEL in self._levels else {"+", "#"}

    @property
    def only_camera(self) -> str | None:
        """The one camera whose images match; None if there may be several."""
        return None if _WILD & set(self._levels) else "-".join(self._levels)

    @property
    def mqtt(self) -> str:
        """The filter to subscribe to."""
        return "/".join("+" if level.startswith("{") else level for level in self._levels)

    def overlaps(self, other: "ImageFilter") -> bool:
        """Whether some topic matches both filters: its images would count twice."""
        ours, theirs = self.mqtt.split("/"), other.mqtt.split("/")
        for one, two in zip(ours, theirs, strict=False):
            if "#" in {one, two}:
                return True
            if one != two and "+" not in {one, two}:
                return False
        longer = max(ours, theirs, key=len)[min(len(ours), len(theirs)) :]
        return not longer or longer == ["#"]  # '#' matches its parent level too

    def match(self, topic: str) -> ImageRoute | None:
        """The route of an image on ``topic``, or None if the topic does not match.

        Raises:
            MessageError: the topic matches and its camera or request level is unusable.
        """
        parts = topic.split("/")
        levels = self._levels
        if levels[-1] == "#":
            if len(parts) < len(levels) - 1:
                return None
            levels = levels[:-1] + ["#"] * (len(parts) - len(levels) + 1)
        if len(parts) != len(levels) or any(
            level not in _WILD and level != part for level, part in zip(levels, parts, strict=True)
        ):
            return None
        chosen = [p for level, p in zip(levels, parts, strict=True) if level in self._sources]
        request_id = None
        if levels[-1] == REQUEST_LEVEL:
            if not _REQUEST.fullmatch(parts[-1]):
                raise MessageError(
                    "request_id", f"request id in topic {topic!r} is not 32 lower-case hex digits"
                )
            request_id = bytes.fromhex(parts[-1])
        return ImageRoute(_camera("-".join(chosen or parts), topic), request_id)


def _camera(name: str, topic: str) -> str:
    if not is_camera(name):
        raise MessageError("camera", f"no usable camera name in topic {topic[:100]!r}")
    return name
