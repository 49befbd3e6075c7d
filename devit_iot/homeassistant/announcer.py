"""Announces a fleet's devices to Home Assistant, from within the aggregator."""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence, Sized
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

from devit_iot.errors import InputError
from devit_iot.homeassistant.devices import Announcement, device_id
from devit_iot.homeassistant.heads import Heads, HeadSensor, StateRule, sensors
from devit_iot.protocol.status import NodeStatus
from devit_iot.protocol.topics import HOME_ASSISTANT_STATUS, DiscoveryTopics
from devit_iot.transport.base import Message, Transport

logger = logging.getLogger(__name__)

MAX_CAMERAS = 64
MAX_NODES = 256

_BURST = 16  # announcements at a time: the broker queues them for Home Assistant
_MAX_DELAY_S = 5.0
_PROOF_S = 5.0
_SILENT_S = 600.0
_STRIKES = 3


class _Facts(NamedTuple):
    """What a node's announcement rests on."""

    part: int
    parts: int
    machine: str
    version: str
    has_thermometer: bool


class _Seen(NamedTuple):
    """When a camera's last label was published, and by which heads."""

    at: float
    heads: Heads


class Described(Protocol):
    """Describes devices by the names of their cameras and nodes."""

    @property
    def fleet_name(self) -> str:
        """The fleet's name."""

    def lasting(self) -> Sequence[Announcement]:
        """What is there whatever is seen."""

    def camera(self, camera: str, heads: Sequence[HeadSensor] = ()) -> Announcement:
        """One camera with its heads."""

    def node(self, name: str, status: NodeStatus, *, has_thermometer: bool) -> Announcement:
        """One node."""


class Announcer:
    """Publishes, retained, what Home Assistant needs to know of each device.

    It does so on connecting, when something new is seen, and when Home Assistant has started: then
    after a random delay, since others announce themselves too. A camera without a label for ten
    minutes is left out until its next one, so that it stays away once it was forgotten; the broker
    keeps what it was told before. Announcements are of QoS 0: nothing
    waits for them, and a broker that denies them is no problem of the service. One that hangs up
    instead is told nothing more on that connection after three attempts.

    Args:
        devices: describes the fleet's devices, or those of many cells.
        transport: a connection that is not started.
        topics: topics where Home Assistant looks for devices.
        state_rule: when the labels of a head change its state; None: it has none.
        delay_s: draws the delay.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        devices: Described,
        transport: Transport,
        *,
        topics: DiscoveryTopics,
        state_rule: StateRule,
        delay_s: Callable[[], float] = lambda: random.uniform(0.0, _MAX_DELAY_S),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._devices = devices
        self._transport = transport
        self._topics = topics
        self._state_rule = state_rule
        self._delay_s = delay_s
        self._clock = clock
        self._cameras: dict[str, _Seen] = {}
        self._nodes: dict[str, _Facts] = {}
        self._full: set[str] = set()  # kinds of devices of which there are too many
        self._known: dict[str, Announcement] = {a.device_id: a for a in devices.lasting()}
        self._due: dict[str, Announcement] = {}
        self._lock = threading.Lock()  # guards what follows; the rest belongs to the main thread
        self._all_due_at: float | None = None
        self._published_at: float | None = None
        self._strikes = 0
        transport.subscribe(HOME_ASSISTANT_STATUS, self._on_home_assistant, required=False)

    def running(self) -> AbstractContextManager[None]:
        """Open nothing: it speaks on the aggregator's connection."""
        return nullcontext()

    def connected(self) -> None:
        """Announce all, on a new connection. On the network thread."""
        now = self._clock()
        with self._lock:
            hung_up = self._published_at is not None and now - self._published_at < _PROOF_S
            self._published_at = None
            self._strikes = self._strikes + 1 if hung_up else 0
            self._all_due_at = now if self._strikes < _STRIKES else None
            given_up = self._strikes == _STRIKES
        if given_up:
            logger.error(
                "the broker hangs up when we announce the fleet to Home Assistant: see its access "
                "list, or turn that off with --homeassistant false"
            )

    def see_camera(self, camera: str, heads: Heads) -> None:
        """Labels of this camera were published.

        Args:
            camera: name of the camera.
            heads: its heads with their classes, the main one first.
        """
        before = self._cameras.get(camera)
        if before is None and not self._has_room("cameras", self._cameras, MAX_CAMERAS):
            return
        self._cameras[camera] = _Seen(self._clock(), heads)
        if before is not None and before.heads == heads:
            return
        shown = sensors(heads, self._state_rule)
        for problem in filter(None, (sensor.problem for sensor in shown)):
            logger.warning("%s", problem)
        self.announce(self._devices.camera(camera, shown))

    def see_node(self, name: str, status: NodeStatus) -> None:
        """A node of the fleet said that it is online."""
        before = self._nodes.get(name)
        facts = _Facts(
            status.part,
            status.parts,
            status.machine,
            status.version,
            status.temperature_c is not None or (before is not None and before.has_thermometer),
        )
        if facts != before and (before or self._has_room("nodes", self._nodes, MAX_NODES)):
            self._nodes[name] = facts
            node = self._devices.node(name, status, has_thermometer=facts.has_thermometer)
            self.announce(node)

    def forget_node(self, name: str) -> None:
        """A node is no member of the fleet any more: do not announce it again."""
        if self._nodes.pop(name, None) is not None:
            self.leave_out(device_id(self._devices.fleet_name, "node", name))

    def refresh(self) -> None:
        """Publish some of what is due; call it about once a second at least."""
        now = self._clock()
        with self._lock:
            if self._all_due_at is not None and now >= self._all_due_at:
                self._all_due_at = None
                self._leave_out_silent_cameras(now)
                self._due = dict(self._known)
            if not self._due or self._strikes >= _STRIKES or not self._transport.connected:
                return
            self._published_at = now
        for device in list(self._due)[:_BURST]:
            self._publish(self._due.pop(device))

    def _leave_out_silent_cameras(self, now: float) -> None:
        for camera, seen in list(self._cameras.items()):
            if now - seen.at > _SILENT_S:
                del self._cameras[camera]
                self.leave_out(device_id(self._devices.fleet_name, "camera", camera))

    def leave_out(self, device: str) -> None:
        """Do not announce a device again."""
        self._known.pop(device, None)
        self._due.pop(device, None)

    def announce(self, announcement: Announcement) -> None:
        """Announce a device, now and whenever all are."""
        self._known[announcement.device_id] = announcement
        self._due[announcement.device_id] = announcement

    def _publish(self, announcement: Announcement) -> None:
        topic = self._topics.device(announcement.device_id)
        try:
            self._transport.publish(topic, announcement.payload, retain=True)
        except InputError as error:
            logger.warning("not announced to Home Assistant: %s", error)

    def _has_room(self, kind: str, present: Sized, limit: int) -> bool:
        if len(present) < limit:
            return True
        if kind not in self._full:
            self._full.add(kind)
            logger.warning("Home Assistant is told of the first %d %s only", limit, kind)
        return False

    def _on_home_assistant(self, message: Message) -> None:
        if message.payload == b"online" and not message.retained:
            with self._lock:
                self._all_due_at = self._clock() + self._delay_s()
