"""``devit fleet``: make a fleet that nobody else gets into."""

from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from devit_iot.cli.common import one_line_errors
from devit_iot.cli.fleet_cells import cell, check_host, read_places
from devit_iot.cli.fleet_keys import in_folder, rotate, sign
from devit_iot.cli.fleet_plan import plan
from devit_iot.cli.fleet_release import pause, push, rollback, status
from devit_iot.cli.number import Number
from devit_iot.cli.old_options import Command
from devit_iot.cli.options import JOIN_CLIENT, configuration, image_options, settings
from devit_iot.errors import ConfigError
from devit_iot.fleet.access import Role
from devit_iot.fleet.broker_files import BrokerKind

if TYPE_CHECKING:
    from devit_iot.fleet.folder import FleetFolder


@click.group()
def fleet() -> None:
    """Certificates, access list and broker configuration of a fleet, and its releases.

    The fleet's folder holds all its secrets. Keep it on your own machine, and keep a copy.
    """


for command in (push, status, rollback, pause, plan, sign, rotate, cell):
    fleet.add_command(command)


@fleet.command(cls=Command, path="devit fleet init")
@click.argument("path", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--host",
    "hosts",
    multiple=True,
    required=True,
    help="Name or address of the broker's machine; repeat. Clients use the first, or all of NATS.",
)
@click.option("--fleet", "name", default="home", show_default=True, help="The fleet's name.")
@click.option(
    "--port",
    default=8883,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="Where the broker listens.",
)
@image_options
@click.option("--trust", default="", help="Public key that every bundle must be signed with.")
@click.option(
    "--broker-folder",
    default="",
    help="Where the broker will find its files; default: Debian's /etc/mosquitto, or /etc/nats. "
    "With --cells it is the upper broker's, and those of a cell are where FOLDER would put them "
    "beside it.",
)
@click.option(
    "--broker-kind",
    default="mosquitto",
    show_default=True,
    type=click.Choice(get_args(BrokerKind)),
    help="Whose files; `nats` with three hosts is a cluster of which one may fail.",
)
@click.option(
    "--cells",
    "places",
    default="",
    help="Make an upper broker and these cells, by commas: NAME, NAME=HOST or NAME=HOST:PORT. HOST "
    "is the machine of the cell's broker, NAME.local unless given.",
)
@one_line_errors
def init(  # noqa: PLR0913 - one for each option
    *,
    path: Path,
    hosts: tuple[str, ...],
    name: str,
    port: int,
    images: tuple[str, ...],
    trust: str,
    broker_folder: str,
    broker_kind: BrokerKind,
    places: str,
) -> None:
    """Make FOLDER: an authority, the broker's files, and a client of each role.

    With --cells the broker is an upper one, and cells/NAME in FOLDER is such a folder for each
    cell, with bridges that send labels, states and statuses up.

    \b
        devit fleet init fleet --host hub.local
        devit fleet init fleet --host upper.local --cells hall=hall-hub.local,yard=yard-hub.local
    """
    from devit_iot.fleet.cells import CellPlace, create_with_cells
    from devit_iot.fleet.folder import FleetFolder, FleetState

    for host in hosts:
        check_host(host)
    state = FleetState(*(name, hosts, port, images, trust, broker_folder), broker_kind=broker_kind)
    cells = tuple(CellPlace(cell, host, own or port) for cell, host, own in read_places(places))
    if cells and broker_kind != "mosquitto":
        raise ConfigError(f"--cells needs mosquitto: leave --broker-kind {broker_kind} out")
    if cells:
        create_with_cells(path, state, cells)
        click.echo(
            f"{path}: an upper broker of fleet '{name}', and {len(cells)} cells. Add nodes with "
            f"`devit fleet add NODE --part 0 --folder {path / 'cells' / cells[0].name}`; copy "
            f"{path / 'broker'} to the upper broker and cells/NAME/broker to each cell's."
        )
        return
    made = FleetFolder.create(path, state)
    click.echo(
        f"{path}: fleet '{name}' with clients {', '.join(made.fleet.clients)}. Add nodes with "
        f"`devit fleet add NODE --part 0 --folder {path}`, then copy {path / 'broker'} to the "
        f"broker. Keep {path / 'updates' / 'spare-1.key'} in another place."
    )


@fleet.command(cls=Command, path="devit fleet add")
@click.argument("name")
@click.option(
    "--part", type=click.IntRange(0), help="The part that a node runs without a hub; default: 0."
)
@click.option(
    "--role",
    default="node",
    show_default=True,
    type=click.Choice(get_args(Role)),
    help="What the client may publish and read.",
)
@in_folder
@settings(JOIN_CLIENT)
@click.option(
    "--cloud-init",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Also write user-data for Raspberry Pi Imager: the board joins by itself.",
)
@click.option("--prefix", default="", help="Print a line that needs neither root nor systemd.")
@click.option(
    "--valid-hours",
    default=24.0,
    show_default=True,
    type=Number(0.0, min_open=True),
    help="For how long the line lets a board join.",
)
@one_line_errors
def add(
    config_file: Path | None,
    *,
    name: str,
    part: int | None,
    role: Role,
    path: Path,
    cloud_init: Path | None,
    prefix: str,
    valid_hours: float,
    **values: object,
) -> None:
    """Let NAME into the fleet and print one line to paste on its board.

    With a hub the line installs the software, fetches the board's key and starts the node; it is
    good for one board, once. Without one it makes the folder NAME, with a key: treat it as a
    password. The broker must get the new access list.

    \b
        devit fleet add pi-0 --hub-join-url https://hub.local:8485 --token-file token
        devit fleet add pi-1 --part 1 | ssh pi@pi-1.local sh
    """
    if role != "node" and part is not None:
        raise ConfigError(f"only a node has a part, '{name}' is to be a {role}")
    hub = configuration(config_file, values).hub
    joins = bool(hub.join_url) and role == "node" and part is None
    if (cloud_init or prefix) and not joins:
        raise ConfigError(
            "--cloud-init and --prefix are for nodes that get their part from a hub: give "
            "--hub-join-url, and no --part"
        )
    from devit_iot.fleet.folder import FleetFolder
    from devit_iot.fleet.parcel import paste_line

    opened = FleetFolder(path)
    new = opened.add(name, role, None if joins or role != "node" else part or 0)
    if joins:
        from devit_iot.cli.fleet_join import invite, write_user_data
        from devit_iot.fleet.join_line import join_line, user_data

        ticket = invite(opened, name, hub, valid_hours * 3600)
        if cloud_init is not None:
            write_user_data(cloud_init, user_data(ticket))
        click.echo(join_line(ticket, prefix))
        lists = f" The broker needs {_lists(opened)}." if new else ""
        click.echo(f"Paste this line on the board within {valid_hours:g} h.{lists}", err=True)
        return
    click.echo(paste_line(name, opened.client_files(name)))
    click.echo(_next_steps(opened, name) if new else f"{name} was in the fleet already", err=True)


@fleet.command(cls=Command, path="devit fleet revoke")
@click.argument("name")
@in_folder
@one_line_errors
def revoke(*, name: str, path: Path) -> None:
    """Shut NAME out: its board was lost, or its key may be known."""
    from devit_iot.fleet.folder import FleetFolder

    opened = FleetFolder(path)
    opened.revoke(name)
    click.echo(f"{name} is revoked as soon as the broker has {_lists(opened)} and was reloaded")


def _next_steps(opened: "FleetFolder", name: str) -> str:
    client = opened.client(name)
    program = {"node": "devit-node start", "aggregator": "devit-aggregate start"}.get(client.role)
    start = f", then `{program} --config {name}/devit.toml --bundle BUNDLE`" if program else ""
    return f"Paste this line on the board{start}. The broker needs {_lists(opened)}."


def _lists(opened: "FleetFolder") -> str:
    if opened.fleet.broker_kind == "nats":
        return f"the new {opened.path / 'broker' / 'acl.conf'}"
    return f"the new {opened.path / 'broker' / 'acl'} and crl.pem"
