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
from devit_iot.monitor.overview import MAX_CAMERAS, read_label
from devit_iot.monitor.watch import Watch
from devit_iot.protocol.label import Label
from devit_iot.protocol.topics import Topics
from devit_iot.service.counters import Counters
from devit_iot.transport.base import Message

logger = logging.getLogger(__name__)

_WAITING = 1000
_LOOK_S = 0.5


class _Inbox:
    """New labels, from the network thread to the main one, in order.

    What the broker kept from before we connected first is old. What it kept when we connect again
    is new, unless we had it.
    """

    def __init__(self, topics: Topics, cameras: Collection[str]) -> None:
        self._topics = topics
        self._cameras = cameras
        self._counters = Counters(logger)
        self._connections = 0
        self._last: dict[str, str] = {}  # camera -> request id, in the order of hearing
        self._labels: queue.Queue[Label] = queue.Queue(_WAITING)

    def connected(self) -> None:
        """Count a connection."""
        self._connections += 1

    def take(self, message: Message) -> None:
        """Keep a label that is new and wanted; an empty message deletes the camera's last one."""
        camera = self._topics.camera_of(message.topic)
        if message.is_deletion:
            self._last.pop(camera, None)
            return
        try:
            label = read_label(camera, message.payload)
            if self._is_new(label, retained=message.retained):
                self._labels.put_nowait(label)
        except MessageError as error:
            self._counters.refuse(error, f"label on {message.topic[:100]!r}")
        except queue.Full:
            if not self._counters["dropped"]:
                logger.warning("labels come faster than they are printed: some are dropped")
            self._counters.count("dropped")

    def _is_new(self, label: Label, *, retained: bool) -> bool:
        before = self._last.pop(label.camera, None)
        self._last[label.camera] = label.request_id
        if len(self._last) > MAX_CAMERAS:
            del self._last[next(iter(self._last))]
        if self._cameras and label.camera not in self._cameras:
            return False
        return not retained or (self._connections > 1 and before != label.request_id)

    def get(self, link: Watch) -> Label:
        """Wait for the next label; BrokerError if the broker refuses us for good."""
        while True:
            link.check()
            try:
                return self._labels.get(timeout=_LOOK_S)
            except queue.Empty:
                continue


@click.command()
@settings(CLIENT, FLEET_NAME)
@click.option("--camera", "cameras", multiple=True, help="Only of this camera; may be repeated.")
@click.option("--count", type=click.IntRange(1), help="End after so many labels.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, as published.")
@one_line_errors
def labels(
    config_file: Path | None,
    *,
    cameras: tuple[str, ...],
    count: int | None,
    as_json: bool,
    **values: object,
) -> None:
    """Print each new label as a line, until Ctrl-C. A broker that goes away is waited for.

    \b
        devit labels --broker mqtt://hub.local --camera door
        devit labels --json | jq .label
    """
    config = configuration(config_file, values)
    set_up_logging(config.log.format, config.log.level)
    topics = Topics(config.fleet)
    inbox = _Inbox(topics, cameras)
    link = watch(config, "labels", [topics.labels], inbox.take, inbox.connected)
    with suppress(KeyboardInterrupt), link:
        for _ in itertools.count() if count is None else range(count):
            label = inbox.get(link)
            click.echo(label.encode() if as_json else _line(label))


def _line(label: Label) -> str:
    cells = [
        time.strftime("%H:%M:%S"),
        label.camera,
        label.label,
        percent(label.confidence),
        parts_bar(label.parts_used, label.parts),
    ]
    return "  ".join(cells + ["degraded"] * label.degraded)
