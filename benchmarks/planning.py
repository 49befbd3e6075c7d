"""The exact planner beside the greedy one, on random fleets; and how long it takes.

    python benchmarks/planning.py [--fleets 1000] [--large 40]

The fleets are those of the tests: up to 12 boards whose speeds differ by up to 30 times, some
short of memory, with parts of a bundle or of twenty budgets, in half of them with a rate of images.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

# The fleets of the tests, which are no installed package.
sys.path.insert(0, str(Path(__file__).parent.parent))

from devit_iot.errors import ConfigError
from devit_iot.planning.exact import solve
from devit_iot.planning.greedy import greedy
from tests.support.boards import random_problem

MOST_BOARDS = 12
LARGE = 40
_SAME = 1e-9


class Row(NamedTuple):
    """One fleet: times of the slowest board, infinite without a plan, and of the CPU."""

    exact_ms: float
    greedy_ms: float
    wall_s: float
    cpu_s: float


def planned(seed: int, boards: int) -> Row:
    """Plan one random fleet both ways."""
    problem = random_problem(seed, boards)
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        exact_ms = solve(problem).slowest_ms
    except ConfigError:
        exact_ms = np.inf
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    dealt = greedy(problem)
    return Row(exact_ms, np.inf if dealt is None else dealt.slowest_ms, wall, cpu)


def said(name: str, rows: Sequence[Row]) -> str:
    """One line of the table."""
    both = [row for row in rows if np.isfinite(row.greedy_ms)]
    ratios = np.array([row.greedy_ms / row.exact_ms for row in both])
    cells = (
        name,
        f"{len(rows)}",
        f"{sum(not np.isfinite(row.exact_ms) for row in rows)}",
        f"{sum(row.greedy_ms < row.exact_ms * (1 - _SAME) for row in rows)}",
        f"{(ratios > 1 + _SAME).mean():.0%}",
        f"{ratios.mean():.2f}, {ratios.max():.2f}",
        f"{np.median([row.wall_s for row in rows]):.2f}, {max(row.wall_s for row in rows):.2f}",
        f"{max(row.cpu_s for row in rows):.2f}",
    )
    return f"| {' | '.join(cells)} |"


@click.command()
@click.option("--fleets", default=1000, show_default=True, type=click.IntRange(1))
@click.option("--large", default=40, show_default=True, type=click.IntRange(1))
def main(*, fleets: int, large: int) -> None:
    """Compare, and print a table in Markdown."""
    click.echo(
        "| boards | fleets | without a plan | greedy better | exact better "
        "| greedy / exact, mean, most | seconds, median, most | CPU seconds, most |"
    )
    click.echo("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    small = [planned(seed, 1 + seed % MOST_BOARDS) for seed in range(fleets)]
    click.echo(said(f"1 to {MOST_BOARDS}", small))
    click.echo(said(str(LARGE), [planned(seed, LARGE) for seed in range(large)]))


if __name__ == "__main__":
    main()
