"""``devit hub``: keeps a fleet's releases and leads from one to the next."""

from pathlib import Path

import click

from devit_iot.cli.common import one_line_errors, serve, set_up_logging
from devit_iot.cli.hub_process import open_hub
from devit_iot.cli.hub_wheels import wheels
from devit_iot.cli.options import CLIENT, FLEET_NAME, HUB, TRUST, configuration, settings


@click.group(invoke_without_command=True)
@settings(CLIENT, FLEET_NAME, TRUST, HUB)
@click.pass_context
@one_line_errors
def hub(context: click.Context, /, config_file: Path | None, **values: object) -> None:
    """Keep the fleet's releases and lead from one to the next, until SIGTERM or Ctrl-C.

    One process beside the broker. `devit fleet push` gives it bundles, `devit fleet add` boards.

    \b
        devit hub --broker mqtt://localhost --hub-folder /var/lib/devit-hub --hub-listen :8484 \\
          --hub-url http://hub.local:8484
    """
    if context.invoked_subcommand is not None:
        return
    config = configuration(config_file, values)
    set_up_logging(config.log.format, config.log.level)
    with open_hub(config) as service:
        serve(service)


hub.add_command(wheels)
