"""What `devit top` draws: the facts, and text from the wire as text."""

import msgspec
import pytest
from rich.console import Console

from devit_iot.cli import cells
from devit_iot.cli.top_view import render
from devit_iot.monitor.cells import CellsOverview
from devit_iot.monitor.overview import Overview
from devit_iot.monitor.views import FleetView
from devit_iot.protocol.cells import CellTopics
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message
from tests.golden.make import AGGREGATOR_STATUS, LABEL, NODE_STATUS_3, STEADY_STATE

TOPICS = Topics("home")


def fleet(**label: object) -> FleetView:
    overview = Overview(TOPICS, 0.0)
    said = msgspec.structs.replace(LABEL, **label)
    aggregator = msgspec.structs.replace(AGGREGATOR_STATUS, state="online")
    for topic, payload in (
        (TOPICS.label(said.camera), said.encode()),
        (TOPICS.node_status("pi-1"), NODE_STATUS_3.encode()),
        (TOPICS.aggregator_status(0), aggregator.encode()),
    ):
        overview.take(Message(topic, payload, retained=False), 5.0)
    return overview.view(8.0)


def drawn(view: FleetView, *, connected: bool = True, width: int = 160) -> str:
    console = Console(width=width, record=True, quiet=False, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(render(view, connected=connected))
    return capture.get()


def test_every_fact_is_there() -> None:
    text = drawn(fleet())
    for fact in (
        "parts online 3 of 4",
        "0.1 labels/s",
        "100.0% degraded",
        "300.0",  # compute, ms
        "pi-1",
        "41.2 ms",
        "62 °C",
        "overload 2, age 1, refused 2",
        "entrée",
        "75.0%",
        "#.#. degraded",
        "3 s",
        "not authorized",
    ):
        assert fact in text


@pytest.mark.parametrize(
    ("source", "shown"), [("", ""), ("rapl", "1.5 J"), ("stated", "1.5 J stated")]
)
def test_energy_is_a_column_where_it_is_known(source: str, shown: str) -> None:
    joules = 1.5 * NODE_STATUS_3.published
    overview = Overview(TOPICS, 0.0)
    said = msgspec.structs.replace(NODE_STATUS_3, energy_j=joules, energy_from=source)
    overview.take(Message(TOPICS.node_status("pi-1"), said.encode(), retained=False), 5.0)
    text = drawn(overview.view(8.0))
    assert ("a feature" in text) == bool(source)
    assert shown in text
    assert ("stated" in text) == (source == "stated")


def test_heads_and_states_are_columns_where_there_are_some() -> None:
    plain = drawn(fleet())
    assert "head" not in plain
    overview = Overview(TOPICS, 0.0)
    label = msgspec.structs.replace(LABEL, head="gate", label="ajar")
    overview.take(Message(TOPICS.label("entrée"), label.encode(), retained=False), 5.0)
    topic = TOPICS.state("entrée", "gate")
    overview.take(Message(topic, STEADY_STATE.encode(), retained=True), 5.0)
    (line,) = (line for line in drawn(overview.view(8.0)).splitlines() if "entrée" in line)
    assert line.split()[:4] == ["entrée", "gate", "open", "ajar"]


def test_what_crops_cost_is_a_column_where_there_are_some() -> None:
    assert "crops" not in drawn(fleet())
    overview = Overview(TOPICS, 0.0)
    status = msgspec.structs.replace(NODE_STATUS_3, published=200, crops=150)
    overview.take(Message(TOPICS.node_status("pi-1"), status.encode(), retained=False), 5.0)
    (line,) = (line for line in drawn(overview.view(8.0)).splitlines() if "pi-1 " in line)
    assert line.split()[-1] == "75.0%"


def test_cells_are_a_table_and_stand_before_the_names_of_their_members() -> None:
    overview = CellsOverview("home", 0.0)
    aggregator = msgspec.structs.replace(AGGREGATOR_STATUS, state="offline")
    hall, yard = CellTopics("home", "hall"), CellTopics("home", "yard")
    for topic, payload in (
        (hall.connected, b"1"),
        (yard.connected, b"0"),
        (hall.label("entrée"), LABEL.encode()),
        (hall.node_status("pi-1"), NODE_STATUS_3.encode()),
        (yard.aggregator_status(0), aggregator.encode()),
    ):
        overview.take(Message(topic, payload, retained=False), 5.0)
    text = drawn(overview.view(8.0))
    for fact in ("yard  cut off 3 s", "hall  connected", "hall/entrée", "hall/pi-1", "yard/0"):
        assert fact in text
    assert "cells" not in drawn(fleet())


def test_text_from_the_wire_is_no_markup() -> None:
    hostile = "[red]cat[/red] [link=http://x]:bomb:"
    assert hostile in drawn(fleet(label=hostile))
    assert "[/" in drawn(fleet(label="[/"))  # as markup, an error


def test_a_long_text_is_cut() -> None:
    text = drawn(fleet(label="long" * 200))
    assert "longlong" in text
    assert max(map(len, text.splitlines())) <= 160


def test_a_broker_that_is_away_is_named() -> None:
    assert "the broker is away" in drawn(fleet(), connected=False)
    assert "the broker is away" not in drawn(fleet())


def test_an_empty_fleet() -> None:
    text = drawn(Overview(TOPICS, 0.0).view(1.0))
    assert "no aggregator has said anything" in text
    assert "no label yet" in text


@pytest.mark.parametrize("width", [20, 80])
def test_any_width(width: int) -> None:
    assert all(len(line) <= width for line in drawn(fleet(), width=width).splitlines())


def test_numbers_that_cannot_be_are_dashes() -> None:
    assert cells.number(None) == cells.number(1e300) == cells.number(float("inf")) == "-"
    assert cells.number(10**400) == "-"
    assert cells.percent(-0.1) == cells.percent(float("nan")) == "-"
    assert cells.parts_bar((0, 2), 4) == "#.#."
    assert cells.parts_bar((0, 2), 10**12) == "2 of -"
    assert cells.age(59) == "59 s"
    assert cells.age(7200, at_least=True) == "> 2 h"
