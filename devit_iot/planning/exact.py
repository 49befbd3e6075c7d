"""The best plan, by mixed-integer programming with HiGHS (docs/fleet.md, section "The model").

The slowest board's time is one of the times that single boards have with single parts. It is found
by bisection over them: each step asks HiGHS whether there is a plan without any slower choice.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from devit_iot.errors import ConfigError, DevitError
from devit_iot.planning.greedy import greedy
from devit_iot.planning.prediction import Option
from devit_iot.planning.problem import PlannedPart, Problem, Seat, Solution

_OPTIMAL, _INFEASIBLE = 0, 2
"""scipy.optimize.milp's words."""
_LIMIT_S = 60.0
_ROUNDING = 1e-9
_SLOWER = 1e-3
"""Weight of all times together against capacity, among plans whose slowest board is the best."""


class _Group(NamedTuple):
    """Parts of one kind whose images are shared by so many boards."""

    kind: int
    replicas: int


def solve(problem: Problem) -> Solution:
    """The plan whose slowest board is fastest.

    Among several such plans it has the most multiply-accumulates, and among those about the least
    time on all boards together. Boards compute as precisely as that time allows.

    Raises:
        ConfigError: there is no plan; says what is lacking.
        DevitError: scipy is not installed, or the solver gave up.
    """
    times = sorted(
        {o.total_ms for of_board in problem.options for found in of_board for o in found}
    )
    start = greedy(problem)
    if start is not None:
        times = times[: bisect_right(times, start.slowest_ms)]
    low, high = 0, len(times) - 1
    while low < high:
        middle = (low + high) // 2
        if _Program(problem, times[middle]).feasible():
            high = middle
        else:
            low = middle + 1
    best = _Program(problem, times[high]).best()
    if best is None:
        raise ConfigError(_lacking(problem))
    return best.ordered(problem)


class _Rule(NamedTuple):
    """A sum of variables, given as variable -> factor, lies between two numbers."""

    row: Mapping[int, float]
    least: float
    most: float


class _Program:
    """The 0-1 program of all choices that take at most ``limit_ms``.

    Variables: whether a board has a seat in a group, and how many parts each group has. A group of
    r replicas has r seats for each of its parts, on boards that keep up with 1/r of the images.
    """

    def __init__(self, problem: Problem, limit_ms: float) -> None:
        self._problem = problem
        self._limit_ms = limit_ms
        self._seats: list[tuple[int, _Group, Option]] = []
        for group in self._useful_groups():
            for board, of_board in enumerate(problem.options):
                option = self._chosen(of_board[group.kind], group.replicas)
                if option is not None:
                    self._seats.append((board, group, option))
        self._seats.sort(key=lambda seat: seat[:2])
        self._groups = sorted({group for _, group, _ in self._seats})

    def feasible(self) -> bool:
        """Whether there is a plan."""
        if self._problem.whole and not self._enough_boards():
            return False  # the solver would find this too, but later
        return self._solve(np.zeros(len(self._seats) + len(self._groups))) is not None

    def _enough_boards(self) -> bool:
        """Whether there are as many boards as a bundle's parts need at least."""
        fewest: dict[int, int] = {}
        for group in self._groups:
            fewest.setdefault(group.kind, group.replicas)  # groups are sorted
        boards = {board for board, _, _ in self._seats}
        return len(fewest) == len(self._problem.kinds) and sum(fewest.values()) <= len(boards)

    def best(self) -> Solution | None:
        """The plan of most multiply-accumulates and, nearly, least time; None if there is none."""
        macs = self._macs()
        total_ms = sum(option.total_ms for _, _, option in self._seats)
        slower = [_SLOWER * option.total_ms / total_ms for _, _, option in self._seats]
        values = self._solve(np.array([*slower, *(-macs / macs.max(initial=1.0))]))
        return None if values is None else Solution(tuple(self._parts(values)))

    def _useful_groups(self) -> Iterator[_Group]:
        """Numbers of replicas that some board asks for, and that there are boards for."""
        for kind in range(len(self._problem.kinds)):
            asked = sorted(
                min(map(self._problem.replicas, quick))
                for of_board in self._problem.options
                if (quick := [o for o in of_board[kind] if o.total_ms <= self._limit_ms])
            )
            for replicas in sorted(set(asked)):
                if bisect_right(asked, replicas) >= replicas:
                    yield _Group(kind, replicas)

    def _chosen(self, found: Sequence[Option], replicas: int) -> Option | None:
        """The most precise option that is fast enough."""
        for option in found:
            if option.total_ms <= self._limit_ms and self._problem.replicas(option) <= replicas:
                return option
        return None

    def _macs(self) -> NDArray[np.float64]:
        return np.array([float(self._problem.kinds[group.kind].macs) for group in self._groups])

    def _solve(self, cost: NDArray[np.float64]) -> NDArray[np.int64] | None:
        """The cheapest values of all variables; None if there are none."""
        if not self._seats:
            return None
        optimize, sparse = _scipy()
        rules = self._rules()
        columns = [column for rule in rules for column in rule.row]
        values = [value for rule in rules for value in rule.row.values()]
        starts = np.cumsum([0, *(len(rule.row) for rule in rules)])
        matrix = sparse.csr_array((values, columns, starts), (len(rules), len(cost)))
        done = optimize.milp(
            cost,
            integrality=np.ones(len(cost)),
            bounds=optimize.Bounds(0, [*np.ones(len(self._seats)), *self._most_parts()]),
            constraints=optimize.LinearConstraint(
                matrix, [rule.least for rule in rules], [rule.most for rule in rules]
            ),
            options={"time_limit": _LIMIT_S},
        )
        if done.status == _INFEASIBLE:
            return None
        if done.status != _OPTIMAL:
            raise DevitError(f"the solver gave up: {done.message}; plan fewer boards or budgets")
        rounded: NDArray[np.int64] = np.rint(done.x).astype(np.int64)
        return rounded

    def _most_parts(self) -> NDArray[np.float64]:
        most = len(self._problem.boards)
        return np.full(len(self._groups), 1 if self._problem.whole else most, np.float64)

    def _rules(self) -> "list[_Rule]":
        problem, seats, groups = self._problem, self._seats, self._groups
        place = {group: len(seats) + index for index, group in enumerate(groups)}
        rules = [
            _Rule(dict.fromkeys(of_board, 1.0), 0, 1)
            for _, of_board in groupby(range(len(seats)), key=lambda index: seats[index][0])
        ]
        taken = {group: {place[group]: -float(group.replicas)} for group in groups}
        for index, (_, group, _) in enumerate(seats):
            taken[group][index] = 1.0
        rules += [_Rule(row, 0, 0) for row in taken.values()]
        rules.append(_Rule(dict.fromkeys(place.values(), 1.0), *problem.parts))
        macs = self._macs()
        shares = dict(zip(place.values(), macs / macs.max(), strict=True))
        rules.append(_Rule(shares, problem.demand.macs / macs.max() * (1 - _ROUNDING), np.inf))
        if problem.whole:
            for kind in range(len(problem.kinds)):
                own = [place[group] for group in groups if group.kind == kind]
                rules.append(_Rule(dict.fromkeys(own, 1.0), 1, 1))
        return rules

    def _parts(self, values: NDArray[np.int64]) -> list[PlannedPart]:
        """The seats of each group, dealt out to its parts."""
        taken: dict[_Group, list[Seat]] = {}
        for (board, group, option), value in zip(self._seats, values, strict=False):
            if value:
                taken.setdefault(group, []).append(Seat(board, option))
        return [
            PlannedPart(group.kind, tuple(seats[first : first + group.replicas]))
            for group, seats in taken.items()
            for first in range(0, len(seats), group.replicas)
        ]


def _lacking(problem: Problem) -> str:
    """Why there is no plan."""
    demand = problem.demand
    if demand.rate and _has_plan(problem._replace(demand=demand._replace(rate=0.0))):
        return (
            f"no plan serves {demand.rate:g} images a second: add boards, take smaller parts, or "
            "lower --rate"
        )
    if demand.macs and _has_plan(problem._replace(demand=demand._replace(macs=0))):
        return (
            f"the boards have no room for parts of {demand.macs / 1e6:.0f} MMACs together: lower "
            "--capacity, add boards, or give larger budgets with --macs"
        )
    return "the boards have no room for all parts at once: add boards, or take smaller parts"


def _has_plan(problem: Problem) -> bool:
    return _Program(problem, np.inf).feasible()


def _scipy() -> tuple[Any, Any]:
    try:
        from scipy import optimize, sparse
    except ImportError as error:
        raise DevitError("planning needs scipy: pip install 'devit-iot[plan]'") from error
    return optimize, sparse
