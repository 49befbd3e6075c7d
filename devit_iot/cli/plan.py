"""``devit plan``: which board should carry what."""

from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import click
import msgspec

from devit_iot.bundle.storage import Dtype
from devit_iot.cli import plan_family
from devit_iot.cli.common import one_line_errors, set_up_logging
from devit_iot.cli.number import Number
from devit_iot.cli.options import CLIENT, FLEET_NAME, configuration, settings
from devit_iot.cli.plan_boards import announced_boards, given_boards
from devit_iot.cli.plan_family import Choice, share_of
from devit_iot.errors import ConfigError, DevitError
from devit_iot.planning.plan import Plan, make_plan
from devit_iot.planning.plan_file import write_plan
from devit_iot.planning.plan_text import text
from devit_iot.planning.prediction import PRECISIONS
from devit_iot.planning.problem import Demand, make_problem
from devit_iot.protocol.board import BoardProfile


@click.command()
@settings(CLIENT, FLEET_NAME)
@click.option(
    "--board",
    "given",
    multiple=True,
    metavar="[NAME=]PROFILE[:COUNT]",
    help="A board: its profile's file, or a shipped estimate such as pi5; repeat.",
)
@click.option("--announced", is_flag=True, help="Also the boards whose nodes are online.")
@click.option(
    "--bundle",
    "bundles",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A fleet bundle; of several the one whose slowest board is fastest.",
)
@click.option("--teacher", type=click.Path(path_type=Path), help="A bundle of one large network.")
@click.option("--recipe", help="A recipe of devit decompose (needs the 'train' extra).")
@click.option("--macs", "budgets", default="", help="Budgets to choose from: 0.1,0.2,0.5 or 250M.")
@click.option(
    "--capacity", help="Of all parts together, a share of the teacher, or 4.6G.  [default: 1.0]"
)
@click.option("--parts", type=click.IntRange(1, 255), help="Exactly so many parts.")
@click.option("--rate", default=0.0, type=Number(0), help="Images a second to serve.")
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    type=click.Choice(get_args(Dtype)),
    help="What boards may compute in; repeat.  [default: all]",
)
@click.option(
    "--image-bytes",
    default=75_000,
    show_default=True,
    type=click.IntRange(1),
    help="Size of a camera's image.",
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it as TOML.")
@click.option("--picture", type=click.Path(path_type=Path), help="Also draw it into this PNG.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@one_line_errors
def plan(  # noqa: PLR0913 - one for each option
    config_file: Path | None,
    *,
    given: tuple[str, ...],
    announced: bool,
    bundles: tuple[Path, ...],
    teacher: Path | None,
    recipe: str | None,
    budgets: str,
    capacity: str | None,
    parts: int | None,
    rate: float,
    dtypes: tuple[Dtype, ...],
    image_bytes: int,
    output: Path | None,
    picture: Path | None,
    as_json: bool,
    **values: object,
) -> None:
    """Say which board should carry what, so that the slowest one answers soonest.

    Needs the 'plan' extra. Measure each board with devit bench --profile.

    \b
        devit plan --teacher bundles/deit --board pi-1.toml --board zero2w:3 --capacity 1.0
        devit plan --bundle ./bundle --announced --broker mqtt://hub.local --output plan.toml
    """
    if picture is not None and find_spec("matplotlib") is None:
        raise DevitError("--picture needs matplotlib: pip install 'devit-iot[plan]'")
    choices = _choices(bundles, teacher, recipe, budgets)
    boards = given_boards(given)
    if announced:
        config = configuration(config_file, values)
        set_up_logging(config.log.format, "error")
        boards += announced_boards(config)
    demand = Demand(image_bytes, rate=rate, parts=parts, dtypes=dtypes or PRECISIONS)
    best = _best(boards, choices, demand, capacity)
    if output is not None:
        write_plan(best, output)
    if picture is not None:
        from devit_iot.planning.picture import draw

        draw(best, picture)
    click.echo(msgspec.json.encode(best) if as_json else text(best))


def _choices(
    bundles: tuple[Path, ...], teacher: Path | None, recipe: str | None, budgets: str
) -> list[Choice]:
    if sum((bool(bundles), teacher is not None, recipe is not None)) != 1:
        raise ConfigError("say where the parts come from: --bundle, --teacher or --recipe")
    if bundles and budgets:
        raise ConfigError("--macs is for parts that are still to be made, not for a --bundle")
    if teacher is not None:
        return [plan_family.of_teacher(teacher, budgets)]
    if recipe is not None:
        return [plan_family.of_recipe(recipe, budgets)]
    return [plan_family.of_bundle(folder) for folder in bundles]


def _best(
    boards: list[BoardProfile], choices: list[Choice], demand: Demand, capacity: str | None
) -> Plan:
    """The best plan of all families; those that cannot be planned are named."""
    plans, failures = [], []
    for choice in choices:
        try:
            wanted = demand._replace(macs=_wanted(choice, capacity))
            problem = make_problem(boards, choice.kinds, wanted, whole=choice.whole)
            plans.append(make_plan(problem, choice.family))
        except ConfigError as error:
            if len(choices) == 1:
                raise
            failures.append(f"{choice.family.name}: {error}")
    for failure in failures:
        click.echo(f"left out: {failure}", err=True)
    if not plans:
        raise ConfigError("none of the bundles can be planned")
    return min(plans, key=lambda found: found.slowest_ms)


def _wanted(choice: Choice, capacity: str | None) -> int:
    """The multiply-accumulates of all parts together."""
    if capacity is None:
        return choice.macs
    teacher = choice.family.teacher_macs
    if not teacher and capacity[-1:] not in plan_family.UNITS:
        raise ConfigError(f"--capacity: '{capacity}' of a bundle needs a unit, as in 4.6G")
    return round(share_of(capacity, teacher or 1, "--capacity") * (teacher or 1))
