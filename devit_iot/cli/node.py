"""``devit-node``: one edge node."""

import os
import sys
from pathlib import Path

import click

from devit_iot import __version__
from devit_iot.build import build_node
from devit_iot.cli.common import one_line_errors, serve, set_up_logging
from devit_iot.cli.old_options import Command
from devit_iot.cli.options import CLIENT, FLEET, NODE, configuration, settings
from devit_iot.service.exporter import exporting


@click.group()
@click.version_option(__version__)
def main() -> None:
    """One edge node of a devit-iot fleet."""


@main.command(cls=Command, path="devit-node start")
@settings(CLIENT, FLEET, NODE)
@click.option("--board", envvar="DEVIT_BOARD", help="Board to set up for, for instance pi5.")
@one_line_errors
def start(config_file: Path | None, board: str | None, **values: object) -> None:
    """Run one part on every image and publish its features, until SIGTERM or Ctrl-C.

    \b
        devit-node start --board pi5 --broker mqtt://hub.local --bundle ./bundle --part 2
        devit-node start --board pi5 --broker mqtt://hub.local --store /var/lib/devit
    """
    config = configuration(config_file, values, board=board)
    set_up_logging(config.log.format, config.log.level)
    if config.store:
        from devit_iot.build_managed import build_member  # HTTP costs a node without one time

        member, store = build_member(config, os.environ)
        with exporting(config.metrics, member, config.node.hang_s):
            serve(member)
        if member.restarts:
            os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - this very command
        store.ended_cleanly()
        return
    service = build_node(config, os.environ)
    with exporting(config.metrics, service, config.node.hang_s):
        serve(service)


if __name__ == "__main__":
    main()
