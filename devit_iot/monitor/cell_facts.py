"""What cells said last, for those who pass it on: Prometheus and Home Assistant. Bounded."""

from typing import NamedTuple, TypeVar

from devit_iot.errors import MessageError
from devit_iot.monitor.cells import MAX_CELLS
from devit_iot.protocol.cells import CONNECTED, CellTopics, split_cell
from devit_iot.protocol.label import Label
from devit_iot.protocol.status import AggregatorStatus, NodeStatus
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message

MAX_MEMBERS = 1024
"""Nodes, aggregators and cameras of all cells together, of each kind."""


V = TypeVar("V")


class Place(NamedTuple):
    """A cell, and the name of a node, a shard or a camera in it."""

    cell: str
    name: str

    def __str__(self) -> str:
        return f"{self.cell}/{self.name}"


class Seen(NamedTuple):
    """What a camera's labels and states are of.

    Attributes:
        main: name of its main head; empty: no label of it came yet.
        labels: further heads.
        states: heads that have a state.
    """

    main: str = ""
    labels: frozenset[str] = frozenset()
    states: frozenset[str] = frozenset()


class CellFacts:
    """Takes what cells say.

    Attributes:
        connected: cell -> whether its bridge is there.
        nodes: last status of each node.
        aggregators: last status of each aggregator.
        cameras: what there is of each camera.

    Args:
        fleet: the fleet's name, the same in all cells.
    """

    def __init__(self, fleet: str) -> None:
        self._topics = Topics(fleet)
        self.connected: dict[str, bool] = {}
        self.nodes: dict[Place, NodeStatus] = {}
        self.aggregators: dict[Place, AggregatorStatus] = {}
        self.cameras: dict[Place, Seen] = {}

    def take(self, message: Message) -> Place | str | None:
        """Note a message; return whose facts have changed: a member's, or a cell's by its name.

        Raises:
            MessageError: it is unusable, or of one too many.
        """
        cell, own = split_cell(message.topic)
        if message.topic == CellTopics(self._topics.fleet, cell).connected:
            return self._take_bridge(cell, message)
        camera, head = self._topics.label_of(own)
        if camera:
            return self._take_label(Place(cell, camera), head, message)
        camera, head = self._topics.state_of(own)
        if camera:
            return self._take_state(Place(cell, camera), head, message)
        place = Place(cell, self._topics.node_of(own))
        if own == self._topics.node_status(place.name):
            status = None if message.is_deletion else NodeStatus.decode(message.payload)
            return _put(self.nodes, place, status)
        if own == self._topics.aggregator_status(place.name):
            said = None if message.is_deletion else AggregatorStatus.decode(message.payload)
            return _put(self.aggregators, place, said)
        raise MessageError("topic", "neither a label, a state nor a status")

    def _take_bridge(self, cell: str, message: Message) -> str:
        if message.is_deletion:
            self.connected.pop(cell, None)
            self.nodes = _without(self.nodes, cell)
            self.aggregators = _without(self.aggregators, cell)
            self.cameras = _without(self.cameras, cell)
        elif cell not in self.connected and len(self.connected) >= MAX_CELLS:
            raise MessageError("topic", f"more than {MAX_CELLS} cells")
        else:
            self.connected[cell] = message.payload == CONNECTED
        return cell

    def _take_label(self, place: Place, head: str, message: Message) -> Place | None:
        seen = self.cameras.get(place, Seen())
        if message.is_deletion:
            changed = seen._replace(labels=seen.labels - {head}) if head else None
        elif head:
            changed = seen._replace(labels=seen.labels | {head})
        else:
            changed = seen._replace(main=Label.decode(message.payload).head)
        return self._change(place, seen, changed)

    def _take_state(self, place: Place, head: str, message: Message) -> Place | None:
        seen = self.cameras.get(place, Seen())
        states = seen.states - {head} if message.is_deletion else seen.states | {head}
        return self._change(place, seen, seen._replace(states=states))

    def _change(self, place: Place, seen: Seen, changed: Seen | None) -> Place | None:
        if changed == seen:
            return None
        return _put(self.cameras, place, changed)


def _without(known: dict[Place, V], cell: str) -> dict[Place, V]:
    return {place: value for place, value in known.items() if place.cell != cell}


def _put(known: dict[Place, V], place: Place, value: V | None) -> Place:
    if value is None:
        known.pop(place, None)
    elif place not in known and len(known) >= MAX_MEMBERS:
        raise MessageError("topic", f"more than {MAX_MEMBERS} members")
    else:
        known[place] = value
    return place
