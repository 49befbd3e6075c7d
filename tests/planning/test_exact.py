"""The exact planner: against every possible plan, against the greedy one, and its own promises."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from devit_iot.errors import ConfigError
from devit_iot.planning.exact import solve
from devit_iot.planning.greedy import equal_parts, greedy
from devit_iot.planning.problem import Demand, Problem, Solution, make_problem
from tests.support.boards import IMAGE_BYTES, board, family, kind, random_problem

FLEETS = 100
MOST_BOARDS = 12


class Solved(NamedTuple):
    """A random fleet, its exact and its greedy plan; without plans where there is none."""

    problem: Problem
    exact: Solution | None
    greedy: Solution | None


def solved(seed: int, boards: int) -> Solved:
    problem = random_problem(seed, boards)
    try:
        exact = solve(problem)
    except ConfigError:
        exact = None
    return Solved(problem, exact, greedy(problem))


def every_time(problem: Problem) -> Iterator[float]:
    """The slowest board's time in every plan without replicas."""
    choices = [
        [None, *((kind, option) for kind, found in enumerate(of_board) for option in found)]
        for of_board in problem.options
    ]
    least, most = problem.parts
    for plan in itertools.product(*choices):
        seats = [seat for seat in plan if seat is not None]
        kinds = sorted(kind for kind, _ in seats)
        macs = sum(problem.kinds[kind].macs for kind in kinds)
        right = kinds == list(range(len(problem.kinds))) if problem.whole else True
        if right and least <= len(kinds) <= most and macs >= problem.demand.macs:
            yield max(option.total_ms for _, option in seats)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("paces", [(1, 1, 1), (1, 2, 9), (5, 3, 4), (1, 30, 30)])
def test_no_plan_at_all_is_better(paces: tuple[float, ...], *, whole: bool) -> None:
    boards = [
        board(f"pi-{index}", pace, memory_mib=506 + 6 * index) for index, pace in enumerate(paces)
    ]
    kinds = family(0.05, 0.2, 0.4)
    macs = 0 if whole else kinds[2].macs
    problem = make_problem(boards, kinds, Demand(IMAGE_BYTES, macs=macs), whole=whole)
    assert solve(problem).slowest_ms == pytest.approx(min(every_time(problem)))


@pytest.mark.parametrize("seed", range(FLEETS))
def test_exact_is_never_worse_than_greedy_and_keeps_every_rule(seed: int) -> None:
    problem, exact, found = solved(seed, 1 + seed % MOST_BOARDS)
    if found is not None:
        assert exact is not None
        assert exact.slowest_ms <= found.slowest_ms + 1e-9
    for solution in filter(None, (exact, found)):
        keeps_every_rule(problem, solution)


def test_most_of_these_fleets_can_be_planned() -> None:
    plans = [solved(seed, 1 + seed % MOST_BOARDS).exact for seed in range(0, FLEETS, 5)]
    assert sum(plan is not None for plan in plans) > 0.8 * len(plans)


def keeps_every_rule(problem: Problem, solution: Solution) -> None:
    taken = [seat.board for part in solution.parts for seat in part.seats]
    assert len(taken) == len(set(taken))
    least, most = problem.parts
    assert least <= len(solution.parts) <= most
    assert solution.macs(problem) >= problem.demand.macs * (1 - 1e-6)
    if problem.whole:
        assert sorted(part.kind for part in solution.parts) == list(range(len(problem.kinds)))
    for part in solution.parts:
        for seat in part.seats:
            profile = problem.boards[seat.board]
            assert seat.option in problem.options[seat.board][part.kind]
            assert seat.option.memory_mib <= profile.memory_mib - profile.overhead_mib
            assert problem.demand.rate * seat.option.busy_s <= 0.8 * len(part.seats) + 1e-6


def test_greedy_is_sometimes_worse() -> None:
    """Otherwise the comparison above would say nothing."""
    plans = [solved(seed, 6) for seed in range(12)]
    ratios = [p.greedy.slowest_ms / p.exact.slowest_ms for p in plans if p.greedy and p.exact]
    assert max(ratios) > 1.05


def test_forty_boards_are_planned() -> None:
    problem, exact, _ = solved(2, 40)
    assert exact is not None
    keeps_every_rule(problem, exact)


def test_a_board_that_would_slow_the_fleet_is_left_out() -> None:
    boards = [board("fast", 1), board("fast-2", 1), board("slow", 500)]
    kinds = family(0.1, 0.2, 0.4)
    problem = make_problem(boards, kinds, Demand(IMAGE_BYTES, macs=kinds[1].macs), whole=False)
    used = {seat.board for part in solve(problem).parts for seat in part.seats}
    assert used == {0, 1}


def test_unequal_boards_get_unequal_parts() -> None:
    boards = [board(name, pace, decode_ms=0.1) for name, pace in (("a", 1), ("b", 2), ("c", 4))]
    kinds = family(*(0.05 * step for step in range(1, 21)))
    demand = Demand(1000, macs=3 * kinds[9].macs, dtypes=("float32",))
    problem = make_problem(boards, kinds, demand, whole=False)
    exact, same = solve(problem), equal_parts(problem)
    assert same is not None
    assert same.slowest_ms > 1.5 * exact.slowest_ms
    by_board = {part.seats[0].board: problem.kinds[part.kind].macs for part in exact.parts}
    assert by_board[0] > by_board[1] > by_board[2]


def test_only_slow_boards_compute_less_precisely() -> None:
    boards = [board("fast", 1), board("slow", 3)]
    problem = make_problem(boards, [kind(0.5), kind(0.5)], Demand(IMAGE_BYTES), whole=True)
    dtypes = {s.board: s.option.dtype for part in solve(problem).parts for s in part.seats}
    assert dtypes == {0: "float32", 1: "int8"}


def test_a_rate_asks_for_replicas() -> None:
    boards = [board(f"pi-{index}", 4) for index in range(5)]
    half = kind(0.5)
    busy_s = make_problem(boards, [half], Demand(1), whole=True).options[0][0][-1].busy_s
    demand = Demand(IMAGE_BYTES, rate=1.5 * 0.8 / busy_s)
    (part,) = solve(make_problem(boards, [half], demand, whole=True)).parts
    assert len(part.seats) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rate": 1e5}, "no plan serves 100000 images a second"),
        ({"macs": 10**12}, "no room for parts of 1000000 MMACs together"),
    ],
)
def test_what_is_lacking_is_said(changes: dict[str, float], words: str) -> None:
    demand = Demand(IMAGE_BYTES)._replace(**changes)  # type: ignore[arg-type]
    problem = make_problem([board("a"), board("b")], family(0.1, 0.5), demand, whole=False)
    with pytest.raises(ConfigError, match=words):
        solve(problem)


def test_parts_that_fit_alone_but_not_together_are_said() -> None:
    """One board has room for both large parts, the other one for none."""
    boards = [board("a"), board("b", memory_mib=501)]
    problem = make_problem(boards, [kind(0.9), kind(0.8)], Demand(IMAGE_BYTES), whole=True)
    with pytest.raises(ConfigError, match="no room for all parts at once"):
        solve(problem)
