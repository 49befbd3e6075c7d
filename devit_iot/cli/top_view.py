"""The tables of ``devit top``. Text from the wire is never read as rich's markup."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from devit_iot.cli.cells import age, number, parts_bar, percent, text
from devit_iot.cli.top_releases import render_releases
from devit_iot.config.node import AUTO
from devit_iot.monitor.views import CameraView, FleetView, NodeView
from devit_iot.protocol.label import DEFAULT_HEAD

_ROWS = 200
_NODE_HEADINGS = ("node", "state", "part", "engine", "compute", "chip", "dropped")
_STATE_STYLES = {
    "online": "green",
    "connected": "green",
    "silent": "yellow",
    "offline": "red",
    "cut off": "red",
}


def render(fleet: FleetView, *, connected: bool) -> RenderableType:
    """Everything, as rich draws it."""
    return Group(
        _head(fleet, connected=connected),
        *_cells(fleet),
        _latency(fleet),
        _nodes(fleet),
        *_problems(fleet),
        *render_releases(fleet.releases),
        _cameras(fleet),
    )


def _head(fleet: FleetView, *, connected: bool) -> Text:
    head = Text()
    head.append(f"fleet {text(fleet.fleet)}", style="bold")
    whole = bool(fleet.parts) and len(fleet.parts_online) == fleet.parts
    head.append(
        f"   parts online {len(fleet.parts_online)} of {number(fleet.parts)}",
        style="green" if whole else "red",
    )
    head.append(f"   {fleet.labels_per_s:.1f} labels/s")
    head.append(
        f"   {percent(fleet.degraded_share)} degraded",
        style="yellow" if fleet.degraded_share else "",
    )
    for aggregator in fleet.aggregators[:_ROWS]:
        if aggregator.state != "online" or aggregator.problem:
            name = f"{_of(aggregator.cell)}{text(aggregator.shard)}"
            words = f"\naggregator {name} {aggregator.state} {aggregator.problem}"
            head.append(words, style="red")
    if not fleet.aggregators:
        head.append("\nno aggregator has said anything", style="yellow")
    if fleet.refused:
        head.append(f"\n{fleet.refused} messages refused", style="yellow")
    if not connected:
        head.append("\nthe broker is away", style="red")
    return head


def _cells(fleet: FleetView) -> list[Table]:
    """The cells of an upper broker; none for a fleet without cells."""
    if not fleet.cells:
        return []
    table = _table("cells", ("cell", "state", "parts", "nodes online", "labels/s"))
    for cell in fleet.cells[:_ROWS]:
        state = Text(cell.state, style=_STATE_STYLES.get(cell.state, ""))
        if cell.state != "connected":
            state.append(f" {age(cell.age_s)}")
        parts = f"{len(cell.parts_online)} of {number(cell.parts)}"
        rate = number(cell.labels_per_s, ".1f")
        _add(table, [text(cell.name), state, parts, number(cell.nodes_online), rate])
    return [table]


def _of(cell: str) -> str:
    """What stands before the name of a member of ``cell``; nothing in a fleet without cells."""
    return f"{text(cell)}/" if cell else ""


def _latency(fleet: FleetView) -> RenderableType:
    if not fleet.latency_ms:
        return Text("\nno label yet")
    table = _table("latency, ms", ("", *fleet.latency_ms))
    stages = fleet.latency_ms.values()
    _add(table, ["p50", *(number(stage.p50, ".1f") for stage in stages)])
    _add(table, ["p99", *(number(stage.p99, ".1f") for stage in stages)])
    return table


def _nodes(fleet: FleetView) -> Table:
    table = _table("nodes", _NODE_HEADINGS)
    with_crops = any(node.crops for node in fleet.nodes[:_ROWS])
    if with_crops:
        table.add_column("crops", no_wrap=True, overflow="ellipsis")
    with_energy = any(node.energy_from for node in fleet.nodes[:_ROWS])
    if with_energy:
        table.add_column("a feature", no_wrap=True, overflow="ellipsis")
    for node in fleet.nodes[:_ROWS]:
        state = Text(node.state, style=_STATE_STYLES.get(node.state, ""))
        if node.state != "online":
            state.append(f" {age(node.age_s)}")
        extra = [percent(node.crops / max(1, node.published))] if with_crops else []
        extra += [_energy(node)] if with_energy else []
        _add(table, [_of(node.cell) + text(node.name), state, *_facts(node), *extra])
    return table


def _facts(node: NodeView) -> list[str | Text]:
    part = number(node.part)
    if node.replicas > 1:
        part += f" (1 of {number(node.replicas)})"
    elif node.replica not in {"0/1", AUTO}:
        part += f" ({text(node.replica)})"
    warm = Text(number(node.temperature_c, ".0f", " °C"))
    if node.throttled:
        warm.append(" throttled", style="red")
    dropped = dict(node.drops) | {"refused": node.refused, "lost": node.lost}
    reasons = ", ".join(f"{text(name)} {number(n)}" for name, n in dropped.items() if n)
    return [
        part,
        text(node.engine),
        number(node.compute_ms or None, ".1f", " ms"),
        warm,
        reasons or "0",
    ]


def _energy(node: NodeView) -> str:
    if not node.energy_from or not node.published:
        return ""
    stated = " stated" if node.energy_from == "stated" else ""
    return number(node.energy_j / node.published, ".2g", f" J{stated}")


def _problems(fleet: FleetView) -> list[Text]:
    """A line for each node that says what is wrong: a column would be too narrow."""
    return [
        Text(f"{_of(node.cell)}{text(node.name)}: {node.problem}", style="red")
        for node in fleet.nodes[:_ROWS]
        if node.problem
    ]


def _cameras(fleet: FleetView) -> Table:
    shown = fleet.cameras[:_ROWS]
    has_heads = any(not camera.main or camera.head != DEFAULT_HEAD for camera in shown)
    extra = ("head", "state") if has_heads or any(camera.state for camera in shown) else ()
    table = _table("cameras", ("camera", *extra, "label", "confidence", "parts", "age"))
    for camera in shown:
        cells = [text(camera.head), text(camera.state)] if extra else []
        name = _of(camera.cell) + text(camera.camera)
        _add(table, [name, *cells, text(camera.label), *_answer(camera)])
    return table


def _answer(camera: CameraView) -> list[str | Text]:
    parts = Text(parts_bar(camera.parts_used, camera.parts))
    if camera.degraded:
        parts.append(" degraded", style="yellow")
    return [percent(camera.confidence), parts, age(camera.age_s, at_least=camera.retained)]


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, title=f"\n{title}", title_justify="left")
    for heading in headings:
        table.add_column(heading, no_wrap=True, overflow="ellipsis")
    return table


def _add(table: Table, cells: Sequence[str | Text]) -> None:
    table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in cells))
