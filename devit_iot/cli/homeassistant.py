"""``devit homeassistant``: what a fleet announced there."""

from pathlib import Path

import click

from devit_iot.cli.common import one_line_errors, set_up_logging
from devit_iot.cli.options import CLIENT, DISCOVERY, FLEET_NAME, configuration, settings
from devit_iot.cli.watching import command_transport
from devit_iot.homeassistant.remove import Removal, announcements
from devit_iot.protocol.topics import DiscoveryTopics


@click.group()
def homeassistant() -> None:
    """What the aggregators announce to Home Assistant."""


@homeassistant.command()
@settings(CLIENT, FLEET_NAME, DISCOVERY)
@one_line_errors
def remove(config_file: Path | None, **values: object) -> None:
    """Take the devices of one fleet out of Home Assistant; other fleets' devices stay.

    An aggregator that runs announces them again: first start it with --homeassistant false, or stop
    it.

    \b
        devit homeassistant remove --broker mqtt://hub.local --fleet home
    """
    config = configuration(config_file, values)
    set_up_logging(config.log.format, "error")
    transport = command_transport(config, "homeassistant")
    topics = DiscoveryTopics(config.homeassistant.prefix)
    removed = Removal(transport, announcements(config.fleet, topics)).run()
    for topic in removed:
        click.echo(f"removed {topic}")
    if not removed:
        click.echo(f"nothing of fleet '{config.fleet}' at {topics.devices}")
