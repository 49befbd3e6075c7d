"""``devit labels``: labels as lines."""

import itertools
import logging
import queue
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import click

from devit_iot.cli.cells import parts_bar, percent
from devit_iot.cli.common import one_line_errors, set_up_logging
from devit_iot.cli.options import CLIENT, FLEET_NAME, configuration, settings
from devit_iot.cli.watching import watch
from devit_iot.errors import MessageError
from devit_iot.monitor.overview import MAX_CAMERAS, read_label, read_state
from devit_iot.monitor.watch import Watch
from devit_iot.protocol.label import DEFAULT_HEAD, Label
from devit_iot.protocol.steady_state import SteadyState
from devit_iot.protocol.topics import Topics
from devit_iot.service.counters import Counters
from devit_iot.transport.base import Message

logger = logging.getLogger(__name__)

_WAITING = 1000
_LOOK_S = 0.5


_Said = Label | SteadyState


class _Inbox:
    """New labels and states, from the network thread to the main one, in order.

    What the broker kept from before we connected first is old. What it kept when we connect again
    is new, unless we had it.
    """

    def __init__(self, topics: Topics, cameras: Collection[str], heads: Collection[str]) -> None:
        self._topics = topics
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
            if self._is_new(message, said) and self._is_wanted(said):
                self._labels.put_nowait(said)
        except MessageError as error:
            self._counters.refuse(error, f"message on {message.topic[:100]!r}")
        except queue.Full:
            if not self._counters["dropped"]:
                logger.warning("labels come faster than they are printed: some are dropped")
            self._counters.count("dropped")

    def _read(self, message: Message) -> _Said:
        camera, head = self._topics.state_of(message.topic)
        if camera:
            return read_state(camera, head, message.payload)
        camera, head = self._topics.label_of(message.topic)
        return read_label(camera, message.payload, head)

    def _is_new(self, message: Message, said: _Said) -> bool:
        before = self._last.pop(message.topic, None)
        self._last[message.topic] = said.request_id
        if len(self._last) > MAX_CAMERAS:
            del self._last[next(iter(self._last))]
        return not message.retained or (self._connections > 1 and before != said.request_id)

    def _is_wanted(self, said: _Said) -> bool:
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
@settings(CLIENT, FLEET_NAME)
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

    The labels of all heads are printed; a head that is not 'default' is named.

    \b
        devit labels --broker mqtt://hub.local --camera door
        devit labels --head gate --states
        devit labels --json | jq .label
    """
    config = configuration(config_file, values)
    set_up_logging(config.log.format, config.log.level)
    topics = Topics(config.fleet)
    inbox = _Inbox(topics, cameras, heads)
    filters = [topics.states] if states else [topics.labels, topics.head_labels]
    link = watch(config, "labels", filters, inbox.take, inbox.connected)
    with suppress(KeyboardInterrupt), link:
        for _ in itertools.count() if count is None else range(count):
            said = inbox.get(link)
            if as_json:
                click.echo(said.encode())
            else:
                click.echo(_line(said) if isinstance(said, Label) else _state_line(said))


def _line(label: Label) -> str:
    cells = [
        time.strftime("%H:%M:%S"),
        label.camera,
        *([label.head] if label.head != DEFAULT_HEAD else []),
        label.label,
        percent(label.confidence),
        parts_bar(label.parts_used, label.parts),
    ]
    return "  ".join(cells + ["degraded"] * label.degraded)


def _state_line(state: SteadyState) -> str:
    since = state.since.astimezone().strftime("%H:%M:%S")
    before = f"was {state.before}" if state.before else "first"
    return f"{since}  {state.camera}  {state.head}  {state.state}  {before}"
