"""``devit forget``: what the broker keeps of cameras and boards that are gone."""

from pathlib import Path

import click

from devit_iot.cli.common import one_line_errors, set_up_logging
from devit_iot.cli.options import CLIENT, DISCOVERY, FLEET_NAME, configuration, settings
from devit_iot.cli.watching import command_transport
from devit_iot.errors import ConfigError
from devit_iot.homeassistant.remove import Removal, members
from devit_iot.protocol.text import shown
from devit_iot.protocol.topics import DiscoveryTopics, Topics


@click.command()
@settings(CLIENT, FLEET_NAME, DISCOVERY)
@click.option("--camera", "cameras", multiple=True, help="A camera that is gone; repeat.")
@click.option("--node", "nodes", multiple=True, help="A node that is gone; repeat.")
@click.option(
    "--shard", "shards", type=click.IntRange(0), multiple=True, help="An aggregator; repeat."
)
@one_line_errors
def forget(
    config_file: Path | None,
    *,
    cameras: tuple[str, ...],
    nodes: tuple[str, ...],
    shards: tuple[int, ...],
    **values: object,
) -> None:
    """Delete what the broker keeps of members that are gone.

    The broker keeps a camera's last label, a node's or aggregator's last status, and the camera's
    or node's device in Home Assistant. A member that still runs says it all again.

    \b
        devit forget --broker mqtt://hub.local --camera attic --node pi-3
    """
    if not (cameras or nodes or shards):
        raise ConfigError("say who is gone: --camera, --node or --shard")
    config = configuration(config_file, values)
    set_up_logging(config.log.format, "error")
    topics = Topics(config.fleet)
    discovery = DiscoveryTopics(config.homeassistant.prefix)
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
