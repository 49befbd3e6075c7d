"""What is to be planned, and what a solution is."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from devit_iot.bundle.storage import Dtype
from devit_iot.errors import ConfigError
from devit_iot.planning.prediction import PRECISIONS, Kind, Option, needed_mb, options
from devit_iot.protocol.board import BoardProfile

MOST_BUSY = 0.8
"""Share of its time that a board may compute: images do not come evenly."""


class Demand(NamedTuple):
    """What the fleet must do.

    Attributes:
        image_bytes: size of one image.
        rate: images a second, of all cameras together; 0: few enough for any board.
        macs: multiply-accumulates that all parts must have together, at least.
        parts: their number; None leaves it to the planner.
        dtypes: what boards may compute in.
    """

    image_bytes: int
    rate: float = 0.0
    macs: int = 0
    parts: int | None = None
    dtypes: tuple[Dtype, ...] = PRECISIONS


class Problem(NamedTuple):
    """Boards, parts and demand, with every way in which a board can carry a part.

    Attributes:
        boards: each with a name of its own.
        kinds: the parts to choose from.
        whole: whether the kinds are one bundle's parts, each of which is needed once; otherwise
            there may be any number of parts of each kind.
        demand: what the fleet must do.
        options: ways in which board i can carry kind j, by i and j, the most precise first.
    """

    boards: tuple[BoardProfile, ...]
    kinds: tuple[Kind, ...]
    whole: bool
    demand: Demand
    options: tuple[tuple[tuple[Option, ...], ...], ...]

    def replicas(self, option: Option) -> int:
        """Among how many boards a part's images must be shared so that this one keeps up."""
        return max(1, math.ceil(self.demand.rate * option.busy_s / MOST_BUSY - 1e-9))

    @property
    def parts(self) -> tuple[int, int]:
        """The least and the largest number of parts."""
        if self.whole:
            return len(self.kinds), len(self.kinds)
        fixed = self.demand.parts
        return (1, len(self.boards)) if fixed is None else (fixed, fixed)


class Seat(NamedTuple):
    """A board with a part; ``board`` is its index."""

    board: int
    option: Option


class PlannedPart(NamedTuple):
    """A part and the boards that share its images; ``kind`` is its index."""

    kind: int
    seats: tuple[Seat, ...]


class Solution(NamedTuple):
    """Every part of the fleet."""

    parts: tuple[PlannedPart, ...]

    @property
    def slowest_ms(self) -> float:
        """Image to feature on the slowest board."""
        return max(seat.option.total_ms for part in self.parts for seat in part.seats)

    def macs(self, problem: Problem) -> int:
        """Multiply-accumulates of all parts together."""
        return sum(problem.kinds[part.kind].macs for part in self.parts)

    def ordered(self, problem: Problem) -> "Solution":
        """Parts in the order of their numbers: a bundle's as they are, others the largest first."""

        def place(part: PlannedPart) -> tuple[int, int]:
            return (0 if problem.whole else -problem.kinds[part.kind].macs, part.kind)

        return Solution(tuple(sorted(self.parts, key=place)))


def make_problem(
    boards: Sequence[BoardProfile], kinds: Sequence[Kind], demand: Demand, *, whole: bool
) -> Problem:
    """The problem, if there can be a solution as far as single boards and parts tell.

    Raises:
        ConfigError: two boards have one name, one was not measured, a part fits on no board, or
            there are fewer boards than parts.
    """
    if not boards:
        raise ConfigError("no board to plan with: give --board, or --announced")
    names = [board.name for board in boards]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"two boards are called '{name}': give one another name, as in --board pi-9={name}"
            )
    for board in boards:
        if not board.measured:
            raise ConfigError(
                f"board '{board.name}' was never measured: run devit bench --profile on it, and "
                "give its node the file as --profile"
            )
    found = tuple(
        tuple(options(board, kind, demand.image_bytes, demand.dtypes) for kind in kinds)
        for board in boards
    )
    problem = Problem(tuple(boards), tuple(kinds), whole, demand, found)
    _check_memory(problem)
    least, _ = problem.parts
    if least > len(boards):
        owner = "the bundle has" if whole else "--parts asks for"
        raise ConfigError(
            f"{owner} {least} parts and there are {len(boards)} boards, each of which runs one: "
            "add boards, or take a family of fewer parts"
        )
    return problem


def _check_memory(problem: Problem) -> None:
    """Raise ConfigError for a part that no board has room for, or if that holds of all."""
    homeless = [
        kind
        for index, kind in enumerate(problem.kinds)
        if not any(of_board[index] for of_board in problem.options)
    ]
    if not homeless or (not problem.whole and len(homeless) < len(problem.kinds)):
        return
    smallest = min(homeless, key=lambda kind: _least_mb(kind, problem.demand.dtypes))
    needed = _least_mb(smallest, problem.demand.dtypes)
    roomiest = max(problem.boards, key=lambda board: board.memory_mib - board.overhead_mib)
    room = roomiest.memory_mib - roomiest.overhead_mib
    if needed <= room:
        raise ConfigError(
            f"no board was measured in what it may compute in ({', '.join(problem.demand.dtypes)}):"
            " leave out --dtype, or measure again"
        )
    raise ConfigError(
        f"no board has enough memory for {smallest.name}: it takes {needed:.0f} MB, and "
        f"'{roomiest.name}' has most room, {room} MB; take smaller parts, a larger board, or raise "
        "its memory_mib"
    )


def _least_mb(kind: Kind, dtypes: Sequence[Dtype]) -> float:
    return min(needed_mb(kind, dtype) for dtype in dtypes)
