"""What Home Assistant is told: a device for each camera and node, and one for the fleet.

Pure: facts in, JSON out. The format is device discovery of Home Assistant's MQTT integration
(2024.11 and later). An entity's state topic is the label or status that the fleet publishes anyway.
Names from the wire only ever become a text or a topic, never a part of a template.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from devit_iot.homeassistant.heads import HeadSensor, Json
from devit_iot.homeassistant.templates import class_state, fields_template, value_template
from devit_iot.homeassistant.update import update_entity
from devit_iot.protocol.cells import CONNECTED, CellTopics
from devit_iot.protocol.status import STATUS_LIFETIME_S, NodeStatus
from devit_iot.protocol.topics import Topics

ORIGIN = "devit-iot"

_UNESCAPED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
_STATUS_STATE = "{{ value_json.state if value else 'offline' }}"


class Announcement(NamedTuple):
    """One device: its id, and what is published for it."""

    device_id: str
    payload: bytes


def device_id(fleet: str, kind: str, name: str = "") -> str:
    """An id of ``[A-Za-z0-9_-]``, different for different arguments.

    What may not stand there becomes ``-XX`` for each byte of its UTF-8, in upper-case hex; ``kind``
    is lower-case, so that no escape can be taken for a separator.
    """
    return "-".join(["devit", _escaped(fleet), kind, *([_escaped(name)] if name else [])])


def belongs_to(device: str, fleet: str) -> bool:
    """Whether an id is one of ``fleet``'s."""
    return device == device_id(fleet, "fleet") or device.startswith(
        tuple(f"{device_id(fleet, kind)}-" for kind in ("camera", "node", "cell"))
    )


def is_ours(payload: bytes) -> bool:
    """Whether an announcement says that this software made it."""
    try:
        origin = msgspec.json.decode(payload, type=dict[str, msgspec.Raw]).get("origin", b"null")
        return msgspec.json.decode(origin, type=dict[str, object]).get("name") == ORIGIN
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


class Devices:
    """Describes the devices of one fleet.

    The same facts give the same bytes and the same ids: in every aggregator of the fleet, and after
    every restart.

    Args:
        fleet: the fleet's name.
        shards: number of the fleet's aggregators.
        version: version of this software.
        label_expire_s: seconds without a label after which a camera's entities become unavailable;
            0: never.
        has_hub: whether the fleet gets its bundles from a hub.
        cell: cell that the devices belong to, at an upper broker; empty at any other.
    """

    def __init__(
        self,
        fleet: str,
        *,
        shards: int,
        version: str,
        label_expire_s: int = 0,
        has_hub: bool = False,
        cell: str = "",
    ) -> None:
        self._fleet = fleet
        self._cell = cell
        self._topics = CellTopics(fleet, cell) if cell else Topics(fleet)
        self._shards = shards
        self._version = version
        self._label_expire_s = label_expire_s
        self._has_hub = has_hub

    @property
    def fleet_name(self) -> str:
        """The fleet's name."""
        return self._fleet

    def lasting(self) -> Sequence[Announcement]:
        """What is there whatever is seen: the fleet."""
        return (self.fleet(),)

    def fleet(self) -> Announcement:
        """The fleet, or the cell: which parts are online, and whether its aggregators are."""
        cell = self._cell
        device = device_id(self._fleet, "cell", cell) if cell else device_id(self._fleet, "fleet")
        parts_online: Json = {
            "platform": "sensor",
            "name": "Parts online",
            "icon": "mdi:puzzle",
            "state_class": "measurement",
            "state_topic": self._topics.aggregator_status(0),
            "value_template": value_template("value_json.parts_online | count"),
            **_attributes(self._topics.aggregator_status(0), "parts_online", "parts"),
            **self._available_with(self._topics.aggregator_status(0)),
            "expire_after": STATUS_LIFETIME_S,
        }
        components = {"parts_online": parts_online}
        if isinstance(self._topics, CellTopics):
            components["connected"] = {
                **_connectivity("Connected", self._topics.connected),
                "value_template": "{{ value }}",
                "payload_on": CONNECTED.decode(),
                "payload_off": "0",
            }
            del components["connected"]["expire_after"]  # it is said once
        for shard in range(self._shards):
            topic = self._topics.aggregator_status(shard)
            which = "Aggregator" if self._shards == 1 else f"Aggregator {shard}"
            components[f"aggregator_{shard}"] = _connectivity(which, topic)
            components[f"problem_{shard}"] = {
                **_problem(f"{which} problem", topic),
                **self._available_with(topic),
            }
        if self._has_hub:
            hub = self._topics.hub_status
            components["update"] = {**update_entity(self._topics), **self._available_with(hub)}
        name, model = (f"Cell {cell}", "Cell") if cell else (f"Fleet {self._fleet}", "Fleet")
        about = {"name": name, "model": model, "sw_version": self._version}
        return self._announce(device, about, {}, components)

    def camera(self, camera: str, heads: Sequence[HeadSensor] = ()) -> Announcement:
        """One camera: its label, how sure the fleet is, whether a part was missing, its states.

        Args:
            camera: name of the camera.
            heads: its heads, the main one first.
        """
        topic = self._topics.label(camera)
        aggregators = [self._topics.aggregator_status(shard) for shard in range(self._shards)]
        label: Json = {
            "platform": "sensor",
            "name": "Label",
            "icon": "mdi:tag",
            "value_template": class_state("label", "value"),
            **_attributes(topic, "class_index", "top5", "parts_used", "parts"),
        }
        confidence: Json = {
            "platform": "sensor",
            "name": "Confidence",
            "icon": "mdi:percent",
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "suggested_display_precision": 0,
            "value_template": value_template("(value_json.confidence * 100) | round(2)"),
        }
        degraded: Json = {
            "platform": "binary_sensor",
            "name": "Degraded",
            "device_class": "problem",
            "value_template": value_template("'ON' if value_json.degraded else 'OFF'"),
        }
        components = {"label": label, "confidence": confidence, "degraded": degraded}
        if self._label_expire_s:
            for component in components.values():
                component["expire_after"] = self._label_expire_s
        for head in heads:
            components |= head.components(self._topics, camera)
        if not self._cell:
            available = _available_with(*aggregators, mode="any")
        else:  # "any" would let an aggregator speak for a cell that is cut off
            available = self._available_with(*aggregators[: self._shards == 1])
        shared = {"state_topic": topic, **available}
        about = {"name": self._named(camera), "model": f"Camera of fleet {self._fleet}"}
        device = device_id(self._fleet, "camera", self._named(camera))
        return self._announce(device, about, shared, components)

    def node(self, name: str, status: NodeStatus, *, has_thermometer: bool) -> Announcement:
        """One node: whether it is online, how fast it is, and what it dropped.

        Its figures need the aggregator too: without one nothing comes of them.

        Args:
            name: the node's name in its topics.
            status: a status of the node; only facts that do not change while it runs are used.
            has_thermometer: whether the node has ever told its temperature.
        """
        topic = self._topics.node_status(name)
        aggregator = self._topics.aggregator_status(0)
        components = {
            "online": {**_connectivity("Online", topic), **self._available_with(aggregator)},
            "latency": {
                "platform": "sensor",
                "name": "Latency",
                "device_class": "duration",
                "unit_of_measurement": "ms",
                "state_class": "measurement",
                "suggested_display_precision": 1,
                "value_template": value_template(
                    "(value_json.decode_ms + value_json.compute_ms) | round(3)"
                ),
                **_attributes(topic, "decode_ms", "compute_ms"),
                "expire_after": STATUS_LIFETIME_S,
            },
            "dropped": {
                "platform": "sensor",
                "name": "Dropped images",
                "icon": "mdi:image-off",
                "state_class": "total_increasing",
                "entity_category": "diagnostic",
                "value_template": value_template("value_json.dropped"),
                **_attributes(topic, "drops"),
                "expire_after": STATUS_LIFETIME_S,
            },
            "problem": _problem("Problem", topic),
        }
        if has_thermometer:
            components["temperature"] = {
                "platform": "sensor",
                "name": "Temperature",
                "device_class": "temperature",
                "unit_of_measurement": "°C",
                "state_class": "measurement",
                "entity_category": "diagnostic",
                "value_template": value_template("value_json.temperature_c"),
                "expire_after": STATUS_LIFETIME_S,
            }
        about = {
            "name": self._named(name),
            "model": f"Part {status.part} of {status.parts} of fleet {self._fleet}",
            **({"hw_version": status.machine} if status.machine else {}),
            **({"sw_version": status.version} if status.version else {}),
        }
        shared = {"state_topic": topic, **self._available_with(aggregator, topic)}
        device = device_id(self._fleet, "node", self._named(name))
        return self._announce(device, about, shared, components)

    def _named(self, name: str) -> str:
        return f"{self._cell}/{name}" if self._cell else name

    def _available_with(self, *status_topics: str) -> Json:
        """Available while all these statuses say ``online``, and the cell is not cut off."""
        available = _available_with(*status_topics)
        if isinstance(self._topics, CellTopics):
            bridge = {"topic": self._topics.connected, "payload_available": CONNECTED.decode()}
            available["availability"].append({**bridge, "payload_not_available": "0"})
        return available

    def _announce(
        self, device: str, about: Json, shared: Json, components: Mapping[str, Json]
    ) -> Announcement:
        content = {
            "device": {"identifiers": [device], "manufacturer": ORIGIN, **about},
            "origin": {"name": ORIGIN, "sw_version": self._version},
            **shared,
            "components": {
                key: {"unique_id": f"{device}-{key}", **component}
                for key, component in components.items()
            },
        }
        return Announcement(device, msgspec.json.encode(content))


def _escaped(text: str) -> str:
    return "".join(chr(b) if b in _UNESCAPED else f"-{b:02X}" for b in text.encode())


def _available_with(*status_topics: str, mode: str = "all") -> Json:
    """Available while all, or any, of these statuses say ``online``."""
    entries = [{"topic": topic, "value_template": _STATUS_STATE} for topic in status_topics]
    return {"availability": entries, "availability_mode": mode}


def _attributes(topic: str, *fields: str) -> Json:
    """Show these fields of the message beside the state."""
    return {
        "json_attributes_topic": topic,
        "json_attributes_template": fields_template(*fields),
    }


def _connectivity(name: str, status_topic: str) -> Json:
    return {
        "platform": "binary_sensor",
        "name": name,
        "device_class": "connectivity",
        "entity_category": "diagnostic",
        "state_topic": status_topic,
        "value_template": _STATUS_STATE,
        "payload_on": "online",
        "payload_off": "offline",
        "expire_after": STATUS_LIFETIME_S,
    }


def _problem(name: str, status_topic: str) -> Json:
    """Whether a service says that something is wrong; what it is, as an attribute."""
    return {
        "platform": "binary_sensor",
        "name": name,
        "device_class": "problem",
        "entity_category": "diagnostic",
        "state_topic": status_topic,
        "value_template": value_template("'ON' if value_json.problem else 'OFF'"),
        **_attributes(status_topic, "problem"),
        "expire_after": STATUS_LIFETIME_S,
    }
