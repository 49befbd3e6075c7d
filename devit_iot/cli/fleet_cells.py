"""Cells in ``devit fleet``: what its commands are told of them."""

import ipaddress
import re
from pathlib import Path

import click

from devit_iot.cli.common import one_line_errors
from devit_iot.cli.fleet_keys import in_folder
from devit_iot.errors import ConfigError
from devit_iot.protocol.topics import check_name

_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
_PLACE = re.compile(r"(?P<name>[^=]*)(=(?P<host>\[[^\]]*\]|[^:]*)(:(?P<port>\d{1,5}))?)?")
_MAX_PORT = 65535

Place = tuple[str, str, int | None]
"""Name of a cell, host of its broker, and port; None: that of the upper broker."""


def check_host(host: str) -> str:
    """Return ``host`` if it is a host's name or address, else raise ConfigError."""
    try:
        ipaddress.ip_address(host)
    except ValueError as error:
        if not _HOST.fullmatch(host):
            raise ConfigError(f"'{host}' is neither a host's name nor its address") from error
    return host


def read_place(text: str) -> Place:
    """``NAME``, ``NAME=HOST`` or ``NAME=HOST:PORT``; without a host the broker is at NAME.local.

    Raises:
        ConfigError: it is something else.
    """
    found = _PLACE.fullmatch(text.strip())
    port = int(found["port"]) if found and found["port"] else None
    if not found or (port is not None and not 1 <= port <= _MAX_PORT):
        raise ConfigError(f"'{text}' is no cell: write NAME, NAME=HOST or NAME=HOST:PORT")
    name = check_name("cell", found["name"])
    host = f"{name}.local" if found["host"] is None else found["host"].strip("[]")
    return name, check_host(host), port


def read_places(text: str) -> list[Place]:
    """Cells between commas; ConfigError if one is none."""
    return [read_place(item) for item in text.split(",")] if text else []


@click.command("cell")
@click.argument("place", metavar="NAME[=HOST[:PORT]]")
@in_folder
@one_line_errors
def cell(*, place: str, path: Path) -> None:
    """Add a cell to a fleet that was made with --cells.

    HOST is the machine of the cell's broker; without it NAME.local.

    \b
        devit fleet cell yard=yard-hub.local --folder fleet
    """
    from devit_iot.fleet.cells import CellPlace, add_cell
    from devit_iot.fleet.folder import FleetFolder

    name, host, port = read_place(place)
    owner = FleetFolder(path)
    made = add_cell(owner, CellPlace(name, host, port or owner.fleet.port))
    click.echo(
        f"{made.path}: cell '{name}'. Add its nodes with `devit fleet add NODE --folder "
        f"{made.path}`, copy {made.path / 'broker'} to its broker, and the new "
        f"{path / 'broker' / 'acl'} to the upper one."
    )
