"""``devit-aggregate``: features in, labels out."""

import os
from pathlib import Path

import click

from devit_iot import __version__
from devit_iot.build import build_aggregator
from devit_iot.cli.common import one_line_errors, serve, set_up_logging
from devit_iot.cli.options import (
    AGGREGATOR,
    CLIENT,
    FLEET,
    HOME_ASSISTANT,
    configuration,
    settings,
)
from devit_iot.service.exporter import exporting

_LIMIT_S = 10.0
"""It goes round once a second or more often."""


@click.command()
@click.version_option(__version__)
@settings(CLIENT, FLEET, AGGREGATOR, HOME_ASSISTANT)
@one_line_errors
def main(config_file: Path | None, **values: object) -> None:
    """Fuse the nodes' features and publish labels, until SIGTERM or Ctrl-C.

    \b
        devit-aggregate --broker mqtt://hub.local --bundle ./bundle
    """
    config = configuration(config_file, values)
    set_up_logging(config.log.format, config.log.level)
    service = build_aggregator(config, os.environ)
    with exporting(config.metrics, service, _LIMIT_S):
        serve(service)


if __name__ == "__main__":
    main()
