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
"""An aggregator refreshes its status once a second or more often."""


class StartUnlessTold(click.Group):
    """The program without a command starts: ``devit-aggregate OPTIONS`` is what units may have."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, with ``start`` in front of what begins with an option of it."""
        own = {flag for option in self.get_params(ctx) for flag in option.opts}
        starts = not args or (args[0].startswith("-") and args[0] not in own)
        return super().parse_args(ctx, ["start", *args] if starts else args)


@click.group(cls=StartUnlessTold)
@click.version_option(__version__)
def main() -> None:
    """The aggregator of a devit-iot fleet. Options without a command are those of `start`."""


@main.command()
@settings(CLIENT, FLEET, AGGREGATOR, HOME_ASSISTANT)
@one_line_errors
def start(config_file: Path | None, **values: object) -> None:
    """Fuse the nodes' features and publish labels, until SIGTERM or Ctrl-C.

    \b
        devit-aggregate start --broker mqtt://hub.local --bundle ./bundle
        devit-aggregate start --broker mqtt://hub.local --store /var/lib/devit
    """
    config = configuration(config_file, values)
    set_up_logging(config.log.format, config.log.level)
    if config.store:
        from devit_iot.build_managed import build_managed_aggregator

        managed, store = build_managed_aggregator(config, os.environ)
        with exporting(config.metrics, managed, _LIMIT_S):
            serve(managed)
        store.ended_cleanly()
        return
    service = build_aggregator(config, os.environ)
    with exporting(config.metrics, service, _LIMIT_S):
        serve(service)


if __name__ == "__main__":
    main()
