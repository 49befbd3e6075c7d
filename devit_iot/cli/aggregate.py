"""``devit-aggregate``: features in, labels out."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from devit_iot import __version__
from devit_iot.build_aggregator import build_aggregator
from devit_iot.cli.common import Service, one_line_errors, serve, set_up_logging
from devit_iot.cli.options import (
    AGGREGATOR,
    CLIENT,
    FLEET,
    HOME_ASSISTANT,
    HUB,
    configuration,
    settings,
)
from devit_iot.config.config import Config
from devit_iot.service.exporter import exporting

if TYPE_CHECKING:
    from devit_iot.hub.hub import Hub

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
@settings(CLIENT, FLEET, AGGREGATOR, HOME_ASSISTANT, HUB)
@click.option("--hub", "with_hub", is_flag=True, envvar="DEVIT_HUB", help="Be the fleet's hub too.")
@click.option(
    "--hub-config",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="DEVIT_HUB_CONFIG",
    help="TOML file of the hub, if it comes to the broker as somebody else.",
)
@one_line_errors
def start(
    config_file: Path | None, *, with_hub: bool, hub_config: Path | None, **values: object
) -> None:
    """Fuse the nodes' features and publish labels, until SIGTERM or Ctrl-C.

    \b
        devit-aggregate start --broker mqtt://hub.local --bundle ./bundle
        devit-aggregate start --broker mqtt://hub.local --store /var/lib/devit
        devit-aggregate start --broker mqtt://localhost --store /var/lib/devit --hub \\
          --hub-folder /var/lib/devit-hub --hub-listen :8484 --hub-url http://hub.local:8484
    """
    config = configuration(config_file, values)
    set_up_logging(config.log.format, config.log.level)
    with ExitStack() as stack:
        hub = None
        if with_hub:
            from devit_iot.cli.hub_process import open_hub

            of_hub = config if hub_config is None else _of_hub(hub_config, values)
            hub = stack.enter_context(open_hub(of_hub))
        if config.store:
            from devit_iot.build_managed import build_managed_aggregator

            managed, store = build_managed_aggregator(config, os.environ)
            with exporting(config.metrics, managed, _LIMIT_S):
                _serve(managed, hub)
            store.ended_cleanly()
            return
        service = build_aggregator(config, os.environ)
        with exporting(config.metrics, service, _LIMIT_S):
            _serve(service, hub)


def _serve(service: Service[None], hub: "Hub | None") -> None:
    if hub is None:
        serve(service)
        return
    from devit_iot.cli.hub_process import Beside

    serve(Beside(service, hub))


def _of_hub(path: Path, values: Mapping[str, object]) -> Config:
    """The hub's own file; of the options, those of the hub and none of the aggregator's."""
    names = {setting.key.replace(".", "__") for setting in HUB}
    return configuration(path, {name: value for name, value in values.items() if name in names})


if __name__ == "__main__":
    main()
