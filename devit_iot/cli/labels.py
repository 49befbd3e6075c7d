"""``devit labels``: labels as lines."""

import itertools
import logging
import queue
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from devit_iot.cli.cells import parts_bar, percent
from devit_iot.cli.common import one_line_errors, set_up_logging
from devit_iot.cli.options import CELLS, CLIENT, FLEET_NAME, configuration, settings
from devit_iot.cli.watching import watch
from devit_iot.errors import MessageError
from devit_iot.monitor.overview import MAX_CAMERAS, read_label, read_state
from devit_iot.monitor.watch import Watch
from devit_iot.protocol.cells import CellTopics, answers, split_cell
from devit_iot.protocol.label import DEFAULT_HEAD, Label
from devit_iot.protocol.steady_state import SteadyState
from devit_iot.protocol.topics import Topics
from devit_iot.service.counters import Counters
from devit_iot.transport.base import Message

logger = logging.getLogger(__name__)

_WAITING = 1000
_LOOK_S = 0.5


class _Said(NamedTuple):
    """A label or a state, and the cell that says so; empty where the broker is no upper one."""

    cell: str
    what: Label | SteadyState


class _Inbox:
    """New labels and states, from the network thread to the main one, in order.

    What the broker kept from before we connected first is old. What it kept when we connect again
    is new, unless we had it. An upper broker gets the last label of a topic again when a cell's
    bridge connects again.
    """

    def __init__(
        self, topics: Topics, cameras: Collection[str], heads: Collection[str], *, cells: bool
    ) -> None:
        self._topics = topics
        self._cells = cells
        self._cameras = cameras
        self._heads = heads
        self._counters = Counters(logger)
        self._connections = 0
        self._last: dict[str, str] = {}  # topic -> request id, in the order of hearing
        self._labels: queue.Queue[_Said] = queue.Queue(_WAITING)

    def connected(self) -> None:
        """Count a connection."""
        self._connections += 1

    def take(self, message: Message) -> None:
        """Keep what is new and wanted; an empty message deletes the last one of its topic."""
        if message.is_deletion:
            self._last.pop(message.topic, None)
            return
        try:
            said = self._read(message)
            if self._is_new(message, said.what) and self._is_wanted(said.what):
                self._labels.put_nowait(said)
        except MessageError as error:
            self._counters.refuse(error, f"message on {message.topic[:100]!r}")
        except queue.Full:
            if not self._counters["dropped"]:
                logger.warning("labels come faster than they are printed: some are dropped")
            self._counters.count("dropped")

    def _read(self, message: Message) -> _Said:
        cell, topic = split_cell(message.topic) if self._cells else ("", message.topic)
        camera, head = self._topics.state_of(topic)
        if camera:
            return _Said(cell, read_state(camera, head, message.payload))
        camera, head = self._topics.label_of(topic)
        return _Said(cell, read_label(camera, message.payload, head))

    def _is_new(self, message: Message, said: Label | SteadyState) -> bool:
        before = self._last.pop(message.topic, None)
        self._last[message.topic] = said.request_id
        if len(self._last) > MAX_CAMERAS:
            del self._last[next(iter(self._last))]
        if before == said.request_id and (message.retained or self._cells):
            return False
        return not message.retained or self._connections > 1

    def _is_wanted(self, said: Label | SteadyState) -> bool:
        return (not self._cameras or said.camera in self._cameras) and (
            not self._heads or said.head in self._heads
        )

    def get(self, link: Watch) -> _Said:
        """Wait for the next one; BrokerError if the broker refuses us for good."""
        while True:
            link.check()
            try:
                return self._labels.get(timeout=_LOOK_S)
            except queue.Empty:
                continue


@click.command()
@settings(CLIENT, FLEET_NAME, CELLS)
@click.option("--camera", "cameras", multiple=True, help="Only of this camera; may be repeated.")
@click.option("--head", "heads", multiple=True, help="Only of this head; may be repeated.")
@click.option("--states", is_flag=True, help="Each change of a steady state instead of labels.")
@click.option("--count", type=click.IntRange(1), help="End after so many lines.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, as published.")
@one_line_errors
def labels(
    config_file: Path | None,
    *,
    cameras: tuple[str, ...],
    heads: tuple[str, ...],
    states: bool,
    count: int | None,
    as_json: bool,
    **values: object,
) -> None:
    """Print each new label as a line, until Ctrl-C. A broker that goes away is waited for.

    The labels of all heads are printed; a head that is not 'default' is named. At an upper broker
    the cell stands before the camera.

    \b
        devit labels --broker mqtt://hub.local --camera door
        devit labels --head gate --states
        devit labels --json | jq .label
    """
    config = configuration(config_file, values)
    set_up_logging(config.log.format, config.log.level)
    topics = Topics(config.fleet)
    inbox = _Inbox(topics, cameras, heads, cells=config.cells)
    seen = CellTopics(config.fleet) if config.cells else topics
    filters = [seen.states] if states else answers(seen)
    link = watch(config, "labels", filters, inbox.take, inbox.connected)
    with suppress(KeyboardInterrupt), link:
        for _ in itertools.count() if count is None else range(count):
            said = inbox.get(link)
            click.echo(_json(said) if as_json else _line(said))


def _json(said: _Said) -> bytes:
    """As published; a cell comes first."""
    if not said.cell:
        return said.what.encode()
    fields: dict[str, msgspec.Raw] = msgspec.json.decode(
        said.what.encode(), type=dict[str, msgspec.Raw]
    )
    return msgspec.json.encode({"cell": said.cell, **fields})


def _line(said: _Said) -> str:
    camera = f"{said.cell}/{said.what.camera}" if said.cell else said.what.camera
    if isinstance(said.what, SteadyState):
        return _state_line(camera, said.what)
    label = said.what
    cells = [
        time.strftime("%H:%M:%S"),
        camera,
        *([label.head] if label.head != DEFAULT_HEAD else []),
        label.label,
        percent(label.confidence),
        parts_bar(label.parts_used, label.parts),
    ]
    return "  ".join(cells + ["degraded"] * label.degraded)


def _state_line(camera: str, state: SteadyState) -> str:
    since = state.since.astimezone().strftime("%H:%M:%S")
    before = f"was {state.before}" if state.before else "first"
    return f"{since}  {camera}  {state.head}  {state.state}  {before}"
