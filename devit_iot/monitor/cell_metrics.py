"""What Prometheus is told of many cells: the metrics of their members, with the cell's name."""

from collections.abc import Iterable, Iterator, Mapping

from devit_iot.monitor.cell_facts import CellFacts, Place
from devit_iot.protocol.status import AggregatorStatus, NodeStatus
from devit_iot.service.metrics import CELL_CONNECTED, MEMBER_ONLINE, Sample, of

_NODE, _SHARD = "node", "shard"


def samples(facts: CellFacts) -> Iterator[Sample]:
    """Each metric once, with a value for each member of each cell."""
    bridges: dict[tuple[str, ...], float] = {
        (cell,): float(there) for cell, there in list(facts.connected.items())
    }
    yield Sample(CELL_CONNECTED.name, "gauge", CELL_CONNECTED.help, CELL_CONNECTED.labels, bridges)
    nodes, aggregators = dict(facts.nodes), dict(facts.aggregators)
    online = {**_online(_NODE, nodes), **_online(_SHARD, aggregators)}
    yield Sample(MEMBER_ONLINE.name, "gauge", MEMBER_ONLINE.help, MEMBER_ONLINE.labels, online)
    yield from _told(_NODE, nodes)
    yield from _told(_SHARD, aggregators)


def _online(
    kind: str, members: Mapping[Place, NodeStatus] | Mapping[Place, AggregatorStatus]
) -> dict[tuple[str, ...], float]:
    return {
        (place.cell, kind, place.name): float(status.state == "online")
        for place, status in members.items()
    }


def _told(
    kind: str, members: Mapping[Place, NodeStatus] | Mapping[Place, AggregatorStatus]
) -> Iterable[Sample]:
    found: dict[str, Sample] = {}
    for place, status in members.items():
        for metric, children in of(status):
            own = {"cell": place.cell, **({} if kind in metric.labels else {kind: place.name})}
            sample = found.setdefault(
                metric.name,
                Sample(metric.name, metric.kind, metric.help, (*own, *metric.labels), {}),
            )
            values = {(*own.values(), *labels): number for labels, number in children.items()}
            found[metric.name] = sample._replace(children={**sample.children, **values})
    return found.values()
