"""``devit fleet plan``: the hub gives boards the parts that ``devit plan`` says."""

from pathlib import Path

import click

from devit_iot.cli.common import one_line_errors
from devit_iot.cli.fleet_keys import hub_client
from devit_iot.cli.options import CLIENT, HUB_CLIENT, configuration, settings
from devit_iot.errors import ConfigError
from devit_iot.hub.planned import PlannedParts
from devit_iot.planning.plan_file import read_plan


@click.command()
@click.argument("plan_file", metavar="[PLAN]", required=False, type=click.Path(path_type=Path))
@settings(CLIENT, HUB_CLIENT)
@click.option("--forget", is_flag=True, help="Let the hub choose the boards again.")
@one_line_errors
def plan(
    config_file: Path | None, *, plan_file: Path | None, forget: bool, **values: object
) -> None:
    """Give boards the parts that PLAN says, a file of `devit plan --output`.

    It counts until another one comes, for the bundle that it names.

    \b
        devit fleet plan plan.toml --hub-url http://hub.local:8484 --token-file token
    """
    if (plan_file is None) != forget:
        raise ConfigError("give the file of a plan, or --forget")
    planned = None if plan_file is None else _planned(plan_file)
    click.echo(hub_client(configuration(config_file, values)).plan(planned).said)


def _planned(path: Path) -> PlannedParts:
    """Which board carries which part."""
    plan = read_plan(path)
    members = {board.name: board.part for board in plan.boards}
    return PlannedParts(plan.parts, members, plan.fingerprint)
