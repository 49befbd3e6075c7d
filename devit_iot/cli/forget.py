"""``devit forget``: what the broker keeps of cameras and boards that are gone."""

from pathlib import Path

import click

from devit_iot.cli.common import one_line_errors, set_up_logging
from devit_iot.cli.options import CLIENT, DISCOVERY, FLEET_NAME, configuration, settings
from devit_iot.cli.watching import command_transport
from devit_iot.errors import ConfigError
from devit_iot.homeassistant.remove import Removal, members, whole_cell
from devit_iot.protocol.cells import ALL_CELLS, CellTopics
from devit_iot.protocol.text import shown
from devit_iot.protocol.topics import DiscoveryTopics, Topics


@click.command()
@settings(CLIENT, FLEET_NAME, DISCOVERY)
@click.option("--camera", "cameras", multiple=True, help="A camera that is gone; repeat.")
@click.option("--node", "nodes", multiple=True, help="A node that is gone; repeat.")
@click.option(
    "--shard", "shards", type=click.IntRange(0), multiple=True, help="An aggregator; repeat."
)
@click.option(
    "--cell", help="At an upper broker: the cell that they belonged to; alone, the whole cell."
)
@one_line_errors
def forget(
    config_file: Path | None,
    *,
    cameras: tuple[str, ...],
    nodes: tuple[str, ...],
    shards: tuple[int, ...],
    cell: str | None,
    **values: object,
) -> None:
    """Delete what the broker keeps of members that are gone.

    The broker keeps a camera's last label, a node's or aggregator's last status, and the camera's
    or node's device in Home Assistant. A member that still runs says it all again.

    \b
        devit forget --broker mqtt://hub.local --camera attic --node pi-3
        devit forget --broker mqtt://upper.local --cell yard
    """
    if not (cameras or nodes or shards or cell):
        raise ConfigError("say who is gone: --camera, --node, --shard or --cell")
    if cell == ALL_CELLS:
        raise ConfigError("--cell takes the name of one cell")
    config = configuration(config_file, values)
    set_up_logging(config.log.format, "error")
    topics = Topics(config.fleet) if cell is None else CellTopics(config.fleet, cell)
    discovery = DiscoveryTopics(config.homeassistant.prefix)
    if isinstance(topics, CellTopics) and not (cameras or nodes or shards):
        wanted = whole_cell(topics, discovery)
    else:
        wanted = members(topics, discovery, cameras=cameras, nodes=nodes, shards=shards)
    removed = Removal(command_transport(config, "forget"), wanted).run()
    for topic in removed:
        click.echo(f"removed {shown(topic)}")
    if not removed:
        click.echo("nothing of them at the broker")
    elif cameras:
        click.echo(
            "an aggregator that has labelled the camera since its start tells Home Assistant of it "
            "again when that starts anew: restart the aggregator too",
            err=True,
        )
