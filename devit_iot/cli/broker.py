"""``devit broker`` and ``devit acl``: what a broker needs."""

import click

from devit_iot.cli.common import one_line_errors, set_up_logging
from devit_iot.cli.old_options import Command
from devit_iot.cli.options import image_options
from devit_iot.errors import ConfigError
from devit_iot.fleet.access import FORMATS, access_list, members
from devit_iot.fleet.upper_access import upper_access_list, upper_members
from devit_iot.transport.embedded_broker import run_embedded_broker


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=1883, show_default=True, help="Port to listen on.")
@click.option("--websocket-port", type=int, help="Port for browsers; without it there is none.")
@one_line_errors
def broker(host: str, port: int, websocket_port: int | None) -> None:
    """Run the embedded broker, to try things out where mosquitto is not installed.

    It asks nobody for a password and keeps nothing on disk: use mosquitto for a real fleet.
    """
    set_up_logging("human", "warning")
    run_embedded_broker(host, port, websocket_port)


@click.command(cls=Command, path="devit acl")
@click.option("--fleet", default="home", show_default=True, help="The fleet's name.")
@click.option("--node", "nodes", multiple=True, help="A node's name; repeat.")
@click.option("--cell", "cells", multiple=True, help="A cell of an upper broker; repeat.")
@image_options
@click.option(
    "--broker-kind",
    "kind",
    type=click.Choice(list(FORMATS)),
    default="mosquitto",
    show_default=True,
    help="Whose format.",
)
@one_line_errors
def acl(
    fleet: str, nodes: tuple[str, ...], cells: tuple[str, ...], images: tuple[str, ...], kind: str
) -> None:
    """Print the access list of a fleet: what the users of its broker may publish and read.

    With --cell it is that of an upper broker, which has no nodes.

    \b
        devit acl --fleet home --node pi-0 --node pi-1 > /etc/mosquitto/acl
        devit acl --fleet home --cell hall --cell yard > /etc/mosquitto/acl
    """
    if bool(nodes) == bool(cells):
        raise ConfigError("give --node for a fleet's broker, or --cell for an upper one")
    if cells:
        access = upper_access_list(fleet, upper_members(cells))
    else:
        access = access_list(fleet, members(nodes), images)
    click.echo(FORMATS[kind](access), nl=False)
