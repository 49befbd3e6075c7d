"""Many cells as one fleet: what each says, who is cut off, and messages of nobody."""

import msgspec
import pytest

from devit_iot.monitor.cells import MAX_CELLS, CellsOverview
from devit_iot.monitor.views import FleetView
from devit_iot.protocol.cells import CellTopics
from devit_iot.transport.base import Message
from tests.golden.make import AGGREGATOR_STATUS, LABEL, NODE_STATUS_3

AGGREGATOR = msgspec.structs.replace(AGGREGATOR_STATUS, state="online")


def label(cell: str, camera: str = "door", request: int = 1, *, retained: bool = False) -> Message:
    said = msgspec.structs.replace(LABEL, camera=camera, request_id=f"{request:032x}")
    return Message(CellTopics("home", cell).label(camera), said.encode(), retained)


def node(cell: str, name: str = "pi-1") -> Message:
    status = msgspec.structs.replace(NODE_STATUS_3, node=name)
    return Message(CellTopics("home", cell).node_status(name), status.encode(), retained=False)


def aggregator(cell: str, *parts_online: int) -> Message:
    status = msgspec.structs.replace(AGGREGATOR, parts_online=parts_online)
    return Message(CellTopics("home", cell).aggregator_status(0), status.encode(), retained=False)


def bridge(cell: str, payload: bytes = b"1") -> Message:
    return Message(CellTopics("home", cell).connected, payload, retained=True)


def seen(*messages: Message, now: float = 100.0) -> FleetView:
    overview = CellsOverview("home", 90.0)
    for message in messages:
        overview.take(message, now)
    return overview.view(now)


def test_two_cells_are_shown_as_one_fleet() -> None:
    view = seen(
        *(bridge(cell) for cell in "ba"),
        *(node(cell) for cell in "ab"),
        aggregator("a", 0, 1, 2, 3),
        aggregator("b", 0, 1, 3),
        label("a"),
        label("b", "yard"),
    )
    assert [(cell.name, cell.state, cell.nodes_online) for cell in view.cells] == [
        ("a", "connected", 1),
        ("b", "connected", 1),
    ]
    assert [(node.cell, node.name, node.state) for node in view.nodes] == [
        ("a", "pi-1", "online"),
        ("b", "pi-1", "online"),
    ]
    assert [(camera.cell, camera.camera) for camera in view.cameras] == [
        ("a", "door"),
        ("b", "yard"),
    ]
    assert [aggregator.cell for aggregator in view.aggregators] == ["a", "b"]
    assert (view.parts, view.parts_online) == (4, (0, 1, 3))
    assert view.labels_per_s == 0.2
    assert view.refused == 0
    assert view.latency_ms


def test_of_a_cell_that_is_cut_off_nobody_knows_what_is_online() -> None:
    said = (bridge("a"), node("a"), aggregator("a", 0, 1), label("a"))
    view = seen(*said, bridge("a", b"0"))
    assert [cell.state for cell in view.cells] == ["cut off"]
    assert [node.state for node in view.nodes] == ["cut off"]
    assert [aggregator.state for aggregator in view.aggregators] == ["cut off"]
    assert view.parts_online == ()
    assert view.cameras[0].label  # what it said before is still shown
    healed = seen(*said, bridge("a", b"0"), bridge("a"))
    assert [cell.state for cell in healed.cells] == ["connected"]
    assert [node.state for node in healed.nodes] == ["online"]


def test_a_node_that_went_before_its_cell_stays_offline() -> None:
    status = msgspec.structs.replace(NODE_STATUS_3, state="offline")
    gone = Message(CellTopics("home", "a").node_status("pi-1"), status.encode(), retained=False)
    assert [node.state for node in seen(gone, bridge("a", b"0")).nodes] == ["offline"]


def test_a_cell_of_which_nothing_comes_is_silent_although_its_bridge_said_it_is_there() -> None:
    overview = CellsOverview("home", 0.0)
    for message in (bridge("a"), node("a")):
        overview.take(message, 5.0)
    assert overview.view(95.0).cells[0].state == "connected"
    assert overview.view(95.2).cells[0].state == "silent"


def test_a_cell_whose_bridge_said_nothing_is_unknown() -> None:
    assert [cell.state for cell in seen(node("a")).cells] == ["unknown"]


def test_a_label_that_a_bridge_sends_again_counts_once() -> None:
    overview = CellsOverview("home", 0.0)
    for at in range(3):
        overview.take(label("a"), float(at))
    view = overview.view(10.0)
    assert view.labels_per_s == 0.1
    assert view.cameras[0].age_s == 10.0


def test_a_cell_whose_bridge_is_forgotten_goes() -> None:
    assert seen(bridge("a"), node("a"), bridge("a", b"")).cells == ()


@pytest.mark.parametrize(
    "topic",
    [
        "devit/v1/home/labels/door",
        "cells/a",
        "cells//devit/v1/home/labels/door",
        "cells/a b/devit/v1/home/labels/door",
        "cells/a/devit/v1/other/labels/door",
        "cells/a/cells/b/devit/v1/home/labels/door",
    ],
)
def test_what_is_of_no_cell_is_counted(topic: str) -> None:
    view = seen(Message(topic, LABEL.encode(), retained=False))
    assert view.refused == 1
    assert view.cameras == ()


def test_the_number_of_cells_is_bounded() -> None:
    view = seen(*(bridge(f"cell-{number}") for number in range(MAX_CELLS + 2)))
    assert (len(view.cells), view.refused) == (MAX_CELLS, 2)
