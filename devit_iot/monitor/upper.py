"""Listens at an upper broker to many cells, for Home Assistant and Prometheus."""

import logging
import queue
import re
import threading

from devit_iot.config.states import StateConfig
from devit_iot.errors import MessageError
from devit_iot.homeassistant.announcer import Announcer
from devit_iot.homeassistant.cells import CellDevices
from devit_iot.homeassistant.devices import device_id
from devit_iot.homeassistant.heads import HeadSensor
from devit_iot.monitor.cell_facts import CellFacts, Place, Seen
from devit_iot.monitor.cells import CellsOverview
from devit_iot.service.counters import Counters
from devit_iot.transport.base import Message, Transport
from devit_iot.transport.refusals import Refusal

logger = logging.getLogger(__name__)

MAX_SHARDS = 64
"""Aggregators of a cell that Home Assistant is told of."""

_NUMBER = re.compile(r"[0-9]{1,4}")
_WAITING = 10_000
_ROUND_S = 0.5


class Upper:
    """Takes what cells say until :meth:`stop`.

    Args:
        fleet: the fleet's name.
        transport: a connection that is not started.
        devices: describes the devices.
        announcer: what tells Home Assistant of them; None: nobody does.

    Attributes:
        facts: what cells said last.
    """

    def __init__(
        self,
        fleet: str,
        transport: Transport,
        devices: CellDevices,
        announcer: Announcer | None,
    ) -> None:
        self.facts = CellFacts(fleet)
        self._transport = transport
        self._devices = devices
        self._announcer = announcer
        self._counters = Counters(logger)
        self._messages: queue.Queue[Message] = queue.Queue(_WAITING)
        self._shards: dict[str, int] = {}  # number of aggregators of each announced cell
        self._stopping = threading.Event()
        self._refusal = Refusal(self.stop)
        for topic_filter in CellsOverview.filters(fleet):
            transport.subscribe(topic_filter, self._on_message, qos=1)

    def run(self) -> None:
        """Listen until :meth:`stop`.

        Raises:
            BrokerError: the broker refused us for good.
        """
        ready = self._announcer.connected if self._announcer else lambda: None
        self._transport.start(on_ready=ready, on_refused=self._refusal)
        try:
            while not self._stopping.is_set():
                self._work()
                if self._announcer:
                    self._announcer.refresh()
        finally:
            self._transport.stop()
        self._refusal.check()

    def stop(self) -> None:
        """Make :meth:`run` return soon."""
        self._stopping.set()

    def health_problem(self) -> str:
        """Why it is not healthy, in words; empty if it is."""
        return "" if self._transport.connected else "no connection to the broker"

    def _on_message(self, message: Message) -> None:
        try:
            self._messages.put_nowait(message)
        except queue.Full:
            self._counters.count("dropped")

    def _work(self) -> None:
        """Take what waits; wait for half a second if nothing does."""
        try:
            message = self._messages.get(timeout=_ROUND_S)
            while True:
                self._take(message)
                message = self._messages.get_nowait()
        except queue.Empty:
            return

    def _take(self, message: Message) -> None:
        try:
            changed = self.facts.take(message)
        except MessageError as error:
            self._counters.refuse(error, f"message on {message.topic[:100]!r}")
            return
        if isinstance(changed, Place) and self._announcer:
            self._tell(changed, self._announcer)

    def _tell(self, place: Place, announcer: Announcer) -> None:
        """Announce whose facts have changed, or what is known of that name."""
        name = str(place)
        if (node := self.facts.nodes.get(place)) is None:
            announcer.forget_node(name)
        elif node.state == "online":
            announcer.see_node(name, node)
        if (aggregator := self.facts.aggregators.get(place)) is not None:
            shards = _shards(aggregator.shard)
            if self._shards.get(place.cell) != shards:
                self._shards[place.cell] = shards
                announcer.announce(self._devices.cell(place.cell, shards))
        if (seen := self.facts.cameras.get(place)) is not None:
            announcer.announce(self._devices.camera(name, _sensors(seen)))
        else:
            announcer.leave_out(device_id(self._devices.fleet_name, "camera", name))


def _shards(shard: str) -> int:
    """Number of aggregators in an aggregator's ``i/n``, 1 to 64; 1 for what says none."""
    number = shard.rpartition("/")[2]
    return min(max(int(number), 1), MAX_SHARDS) if _NUMBER.fullmatch(number) else 1


def _sensors(seen: Seen) -> list[HeadSensor]:
    """The heads of a camera; which classes they have no cell tells."""
    heads = {seen.main, *seen.labels, *seen.states} - {""}
    order = sorted(heads, key=lambda head: (head != seen.main, head))
    return [
        HeadSensor(head, head == seen.main, (), StateConfig() if head in seen.states else None)
        for head in order
    ]
