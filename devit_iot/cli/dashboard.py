"""``devit dashboard``: serve the live page of a fleet."""

from pathlib import Path

import click

from devit_iot.cli.common import one_line_errors, serve, set_up_logging
from devit_iot.cli.old_options import Command
from devit_iot.cli.options import CELLS, CLIENT, FLEET, NODE, configuration, settings
from devit_iot.config.listen import page_address
from devit_iot.dashboard.server import DashboardServer, PageFacts
from devit_iot.protocol.cells import CellTopics
from devit_iot.protocol.topics import Topics
from devit_iot.transport.address import check_websocket_url, websocket_of

_OPTIONS = tuple(
    setting
    for setting in (*CLIENT, *FLEET, *NODE, *CELLS)
    if setting.flag
    in {
        *("--broker", "--camera-app", "--cells", "--fleet", "--images"),
        *("--log-format", "--log-level"),
    }
)


@click.command(cls=Command, path="devit dashboard")
@settings(_OPTIONS)
@click.option(
    "--listen",
    default="127.0.0.1:8080",
    show_default=True,
    help="host:port of the page; 0.0.0.0:8080 for other machines too.",
)
@click.option(
    "--websocket",
    help="The broker for browsers, ws://host:port/path or wss://. Default: --broker's host at "
    "port 9001.",
)
@one_line_errors
def dashboard(
    *, config_file: Path | None, listen: str, websocket: str | None, **values: object
) -> None:
    """Serve the live page: cameras with their labels, boards, latency, who died and came back.

    The browser talks to the broker by itself, so the broker needs a WebSocket listener. The page
    asks for user name and password if the broker wants them; this server never has them. At an
    upper broker the page shows all cells as one fleet, without pictures.

    \b
        devit dashboard --broker mqtt://hub.local --listen 0.0.0.0:8080
        devit dashboard --broker mqtt://upper.local --cells true
    """
    config = configuration(config_file, values)
    set_up_logging(config.log.format, config.log.level)
    address = check_websocket_url(websocket) if websocket else websocket_of(config.broker.url)
    patterns = tuple(images.topic for images in config.images)
    host, port = page_address(listen)
    if config.cells:
        facts = PageFacts(CellTopics(config.fleet), (), address)  # no image goes up from a cell
    else:
        facts = PageFacts(Topics(config.fleet), patterns, address)
    server = DashboardServer(host, port, facts)
    click.echo(f"the page of fleet '{config.fleet}' is at {server.url}, its broker at {address}")
    serve(server)
