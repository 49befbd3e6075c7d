"""Takes off the broker what it keeps of members that are gone, and what Home Assistant was told."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from devit_iot.errors import BrokerError, ConfigError
from devit_iot.homeassistant.devices import belongs_to, device_id, is_ours
from devit_iot.protocol.cells import CellTopics, answers, present
from devit_iot.protocol.text import is_camera_level
from devit_iot.protocol.topics import DiscoveryTopics, Topics, check_name
from devit_iot.transport.base import Message, Transport
from devit_iot.transport.refusals import Refusal

QUIET_S = 1.0
"""Seconds without a retained message after which the last one has come."""
LIMIT_S = 10.0
"""Seconds within which all retained messages have come, and within which they are deleted."""

_READY_S = 10.0

Wanted = Mapping[str, Callable[[Message], bool]]
"""Topic filter -> which of the retained messages that it matches are to be deleted."""


def announcements(fleet: str, topics: DiscoveryTopics) -> Wanted:
    """What Home Assistant was told of ``fleet``; what other programs and fleets announced stays.

    Args:
        fleet: the fleet's name.
        topics: where Home Assistant looks for devices.
    """

    def is_the_fleets(message: Message) -> bool:
        device = topics.device_of(message.topic)
        return belongs_to(device, fleet) and is_ours(message.payload)

    return {topics.devices: is_the_fleets}


def members(
    topics: Topics,
    discovery: DiscoveryTopics,
    *,
    cameras: Sequence[str] = (),
    nodes: Sequence[str] = (),
    shards: Sequence[int] = (),
) -> Wanted:
    """Labels, states and statuses of members that are gone, and their devices in Home Assistant.

    Args:
        topics: the fleet's topics; those of a cell at an upper broker.
        discovery: where Home Assistant looks for devices.
        cameras: names of cameras, as in the labels.
        nodes: names of nodes.
        shards: shards of aggregators.

    Raises:
        ConfigError: a name that no camera or node can have.
    """
    for camera in cameras:
        if not is_camera_level(camera):
            raise ConfigError(f"no camera can be called '{camera}': see its name in `devit top`")
    for node in nodes:
        check_name("node", node)
    cell = f"{topics.cell}/" if isinstance(topics, CellTopics) else ""
    said = [
        *map(topics.label, cameras),
        *(topics.head_label(camera, "+") for camera in cameras),
        *(topics.state(camera, "+") for camera in cameras),
        *map(topics.node_status, nodes),
        *map(topics.node_update, nodes),
        *map(topics.aggregator_status, shards),
        *map(topics.aggregator_update, shards),
    ]
    announced = [
        discovery.device(device_id(topics.fleet, kind, f"{cell}{name}"))
        for kind, names in (("camera", cameras), ("node", nodes))
        for name in names
    ]
    return {
        **dict.fromkeys(said, lambda _: True),
        **dict.fromkeys(announced, lambda message: is_ours(message.payload)),
    }


def whole_cell(topics: CellTopics, discovery: DiscoveryTopics) -> Wanted:
    """Everything of a cell that an upper broker keeps, and its devices in Home Assistant.

    Args:
        topics: the cell's topics.
        discovery: where Home Assistant looks for devices.
    """
    starts = tuple(
        f"{device_id(topics.fleet, kind, f'{topics.cell}/')}" for kind in ("camera", "node")
    )
    own = device_id(topics.fleet, "cell", topics.cell)

    def is_the_cells(message: Message) -> bool:
        device = discovery.device_of(message.topic)
        return (device == own or device.startswith(starts)) and is_ours(message.payload)

    said = (topics.connected, *answers(topics), *present(topics))
    return {**dict.fromkeys(said, lambda _: True), discovery.devices: is_the_cells}


class Removal:
    """Finds the messages of some kinds that the broker retains, and deletes them.

    Args:
        transport: a connection that is not started.
        wanted: kinds of messages to delete.
        quiet_s: seconds without a message after which the last one has come.
        limit_s: seconds that waiting for messages, and for their deletion, takes at most.
    """

    def __init__(
        self,
        transport: Transport,
        wanted: Wanted,
        *,
        quiet_s: float = QUIET_S,
        limit_s: float = LIMIT_S,
    ) -> None:
        self._transport = transport
        self._quiet_s = quiet_s
        self._limit_s = limit_s
        self._changed = threading.Condition()
        self._ready = False
        self._refusal = Refusal(self._wake)
        self._heard_at = 0.0
        self._retained: set[str] = set()
        for topic_filter, is_wanted in wanted.items():
            transport.subscribe(topic_filter, partial(self._on_message, is_wanted), qos=1)

    def run(self) -> list[str]:
        """Delete them and return their topics, sorted.

        Raises:
            BrokerError: no broker, it refused us, or it did not delete all of them.
        """
        self._transport.start(on_ready=self._on_ready, on_refused=self._refusal)
        try:
            self._wait_ready()
            self._wait_quiet()
            with self._changed:
                found = sorted(self._retained)
            for topic in found:
                self._transport.publish(topic, b"", qos=1, retain=True, on_puback=lambda: None)
            self._wait_deleted(len(found))
        finally:
            self._transport.stop()
        return found

    def _wait_ready(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._refusal.came, _READY_S)
            self._refusal.check()
            if not self._ready:
                raise BrokerError(f"no answer from the broker within {_READY_S:g} s")

    def _wait_quiet(self) -> None:
        """Nothing says which retained message is the last one; they come without a pause."""
        limit = time.monotonic() + self._limit_s
        with self._changed:
            self._heard_at = time.monotonic()
            while (until := min(self._heard_at + self._quiet_s, limit)) > time.monotonic():
                self._changed.wait(until - time.monotonic())

    def _wait_deleted(self, count: int) -> None:
        """The broker sends us our own messages, unless it did not take them."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._retained, self._limit_s):
                raise BrokerError(
                    f"the broker did not delete {len(self._retained)} of {count} messages: "
                    "its access list must let us write and read them"
                )

    def _on_message(self, is_wanted: Callable[[Message], bool], message: Message) -> None:
        with self._changed:
            self._heard_at = time.monotonic()
            if message.is_deletion:
                self._retained.discard(message.topic)
            elif message.retained and is_wanted(message):
                self._retained.add(message.topic)
            self._changed.notify_all()

    def _on_ready(self) -> None:
        with self._changed:
            self._ready = True
            self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
