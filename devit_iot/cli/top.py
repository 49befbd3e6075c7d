"""``devit top``: a fleet at a glance, in a terminal."""

import threading
import time
from contextlib import suppress
from pathlib import Path

import click
import msgspec

from devit_iot.cli.common import one_line_errors, set_up_logging
from devit_iot.cli.options import CELLS, CLIENT, FLEET_NAME, configuration, settings
from devit_iot.cli.watching import watch
from devit_iot.errors import DevitError
from devit_iot.monitor.cells import CellsOverview
from devit_iot.monitor.overview import Overview
from devit_iot.monitor.releases import Releases
from devit_iot.monitor.views import FleetView
from devit_iot.monitor.watch import Watch
from devit_iot.protocol.cells import answers, present
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message

READY_S = 10.0
"""Seconds within which a broker answers, where the command prints once."""

_REFRESH_S = 0.5
_ONCE_S = 2.0


class _Seen:
    """An overview that the network thread feeds and the main thread reads."""

    def __init__(self, overview: Overview | CellsOverview) -> None:
        self._lock = threading.Lock()
        self._overview = overview

    def take(self, message: Message) -> None:
        with self._lock:
            self._overview.take(message, time.monotonic())

    def view(self) -> FleetView:
        with self._lock:
            return self._overview.view(time.monotonic())


@click.command()
@settings(CLIENT, FLEET_NAME, CELLS)
@click.option("--once", is_flag=True, help="Look on for two seconds, print, and end.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON, for machines.")
@one_line_errors
def top(config_file: Path | None, *, once: bool, as_json: bool, **values: object) -> None:
    """Show a fleet live: its parts, nodes, latency, cameras and their states. Ctrl-C ends it.

    At an upper broker it shows all cells as one fleet.

    \b
        devit top --broker mqtt://hub.local
        devit top --once
        devit top --broker mqtt://upper.local --cells true
    """
    config = configuration(config_file, values)
    set_up_logging(config.log.format, "error")  # what happens is shown on the screen
    seen, filters = _look(config.fleet, cells=config.cells)
    with watch(config, "top", filters, seen.take) as link:
        if once or as_json:
            link.wait_ready(READY_S)
            time.sleep(_ONCE_S)
        if as_json:
            click.echo(msgspec.json.encode(seen.view()))
        else:
            _show(seen, link, once=once)


def _look(fleet: str, *, cells: bool) -> tuple[_Seen, tuple[str, ...]]:
    """What is to be seen, and the filters of what shows it."""
    now = time.monotonic()
    if cells:
        return _Seen(CellsOverview(fleet, now)), CellsOverview.filters(fleet)
    topics = Topics(fleet)
    seen = _Seen(Overview(topics, now))
    return seen, (*answers(topics), *present(topics), *Releases.filters(topics))


def _show(seen: _Seen, link: Watch, *, once: bool) -> None:
    try:
        from rich.console import Console
        from rich.live import Live

        from devit_iot.cli.top_view import render
    except ImportError as error:
        raise DevitError("the tables need rich: pip install 'devit-iot[top]'") from error
    if once:
        Console().print(render(seen.view(), connected=True))
        return
    with suppress(KeyboardInterrupt), Live(auto_refresh=False, screen=True) as live:
        while True:
            link.check()
            live.update(render(seen.view(), connected=link.connected), refresh=True)
            time.sleep(_REFRESH_S)
