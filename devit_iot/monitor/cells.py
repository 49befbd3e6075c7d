"""What many cells look like from an upper broker: as one fleet. Pure: time is an argument."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import TypeVar

import msgspec

from devit_iot.errors import MessageError
from devit_iot.monitor.overview import Overview, quantiles
from devit_iot.monitor.releases import Releases
from devit_iot.monitor.views import AggregatorView, CameraView, CellView, FleetView, NodeView
from devit_iot.protocol.cells import CONNECTED, CellTopics, answers, present, split_cell
from devit_iot.protocol.status import STATUS_LIFETIME_S
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message

MAX_CELLS = 64

CUT_OFF = "cut off"
_LIVE = ("online", "silent")


class _Cell:
    """One cell: its fleet, and whether its bridge is there."""

    def __init__(self, topics: Topics, now: float) -> None:
        self.fleet = Overview(topics, now)
        self.heard_at = now
        self.bridge: tuple[bool, float] | None = None

    def view(self, name: str, now: float) -> tuple[CellView, FleetView]:
        """The cell, and its fleet, whose members are cut off if it is."""
        fleet = self.fleet.view(now)
        connected, said_at = self.bridge or (True, self.heard_at)
        if not connected:
            state = CUT_OFF
        elif now - self.heard_at > STATUS_LIFETIME_S:
            state = "silent"
        else:
            state = "connected" if self.bridge else "unknown"
        nodes = tuple(_placed(node, name, connected=connected) for node in fleet.nodes)
        cell = CellView(
            name=name,
            state=state,
            age_s=round(now - said_at, 1),
            parts=fleet.parts,
            parts_online=fleet.parts_online if connected else (),
            nodes_online=sum(node.state == "online" for node in nodes),
            labels_per_s=fleet.labels_per_s,
        )
        aggregators = tuple(_placed(a, name, connected=connected) for a in fleet.aggregators)
        cameras = tuple(msgspec.structs.replace(c, cell=name) for c in fleet.cameras)
        return cell, msgspec.structs.replace(
            fleet, nodes=nodes, aggregators=aggregators, cameras=cameras
        )


class CellsOverview:
    """Takes labels, states and statuses of cells, and shows the cells as one fleet.

    What it remembers of each cell is bounded as in :class:`Overview`, and so is the number of
    cells: messages of a 65th are refused.

    Args:
        fleet: the fleet's name, the same in all cells.
        now: monotonic seconds.
    """

    def __init__(self, fleet: str, now: float) -> None:
        self._topics = Topics(fleet)
        self._started = now
        self._cells: dict[str, _Cell] = {}
        self._refused = 0

    @staticmethod
    def filters(fleet: str) -> tuple[str, ...]:
        """MQTT filters of what :meth:`take` takes."""
        every = CellTopics(fleet)
        return (*answers(every), *present(every), every.connected)

    def take(self, message: Message, now: float) -> None:
        """Look at a message; one that is unusable is counted."""
        try:
            self._take(message, now)
        except MessageError:
            self._refused += 1

    def _take(self, message: Message, now: float) -> None:
        name, own = split_cell(message.topic)
        is_bridge = message.topic == CellTopics(self._topics.fleet, name).connected
        if is_bridge and message.is_deletion:
            self._cells.pop(name, None)
            return
        cell = self._cell(name)
        cell.heard_at = now
        if is_bridge:
            cell.bridge = (message.payload == CONNECTED, now)
        else:
            cell.fleet.take(message._replace(topic=own), now)

    def _cell(self, name: str) -> _Cell:
        if name not in self._cells:
            if len(self._cells) >= MAX_CELLS:
                raise MessageError("topic", f"more than {MAX_CELLS} cells")
            self._cells[name] = _Cell(self._topics, self._started)
        return self._cells[name]

    def view(self, now: float) -> FleetView:
        """All cells as they look now, as one fleet; rows sorted by cell."""
        seen = [cell.view(name, now) for name, cell in sorted(self._cells.items())]
        cells = tuple(cell for cell, _ in seen)
        fleets = [fleet for _, fleet in seen]
        rate = sum(fleet.labels_per_s for fleet in fleets)
        degraded = sum(fleet.labels_per_s * fleet.degraded_share for fleet in fleets)
        online = [set(cell.parts_online) for cell in cells]
        latencies = [*chain(*(cell.fleet.latencies for cell in self._cells.values()))]
        return FleetView(
            fleet=self._topics.fleet,
            parts=max((cell.parts for cell in cells), default=0),
            parts_online=tuple(sorted(set.intersection(*online))) if online else (),
            labels_per_s=round(rate, 2),
            degraded_share=round(degraded / rate, 4) if rate else 0.0,
            latency_ms=quantiles(latencies),
            aggregators=_rows(fleets, lambda fleet: fleet.aggregators),
            nodes=_rows(fleets, lambda fleet: fleet.nodes),
            cameras=_rows(fleets, lambda fleet: fleet.cameras),
            refused=self._refused + sum(fleet.refused for fleet in fleets),
            releases=Releases(self._topics).view(),
            cells=cells,
        )


V = TypeVar("V", NodeView, AggregatorView, CameraView)
S = TypeVar("S", NodeView, AggregatorView)


def _rows(fleets: Sequence[FleetView], rows: Callable[[FleetView], tuple[V, ...]]) -> tuple[V, ...]:
    return tuple(chain(*map(rows, fleets)))


def _placed(view: S, cell: str, *, connected: bool) -> S:
    """A member of a cell; while its cell is cut off nobody knows whether it is online."""
    state = CUT_OFF if not connected and view.state in _LIVE else view.state
    return msgspec.structs.replace(view, cell=cell, state=state)
