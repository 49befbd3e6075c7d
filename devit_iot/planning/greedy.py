"""The greedy baseline, after ED-ViT (arXiv 2410.11650), and equal parts for all.

ED-ViT makes one sub-model for each device, all alike at first, and assigns them one by one, the
costliest first, to the device that has most left of what it can spend; a sub-model that does not
fit is pruned further. Here what a board can spend is its speed, and pruning is the next smaller
budget. The number of parts, which the paper leaves to the user, is tried from one to all boards.
"""

from collections.abc import Iterator, Sequence

from devit_iot.planning.prediction import Option
from devit_iot.planning.problem import PlannedPart, Problem, Seat, Solution


def greedy(problem: Problem) -> Solution | None:
    """The best of the greedy plans; None if all attempts fail, which does not mean that none is."""
    dealer = _Dealer(problem)
    attempts = dealer.of_bundle() if problem.whole else dealer.of_family()
    return min(attempts, key=lambda solution: solution.slowest_ms, default=None)


def equal_parts(problem: Problem) -> Solution | None:
    """One part on every board, all of the smallest budget that is enough.

    None if a board has no room for it, or cannot keep up alone.
    """
    dealer = _Dealer(problem)
    boards = range(len(problem.boards))
    for kind in dealer.by_macs:
        seats = [dealer.seat(board, kind) for board in boards]
        enough = len(boards) * problem.kinds[kind].macs >= problem.demand.macs
        if enough and all(seat and problem.replicas(seat.option) == 1 for seat in seats):
            return Solution(tuple(PlannedPart(kind, (seat,)) for seat in seats if seat))
    return None


class _Dealer:
    """Gives parts to boards, one by one.

    Attributes:
        by_macs: the kinds, the smallest first.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.by_macs = sorted(range(len(problem.kinds)), key=lambda kind: problem.kinds[kind].macs)
        self._fastest = [[_fastest(found) for found in of_board] for of_board in problem.options]
        self._order = sorted(range(len(problem.boards)), key=self._pace)

    def of_bundle(self) -> Iterator[Solution]:
        """The costliest part to the fastest board, and so on."""
        solution = self._deal(list(reversed(self.by_macs)), shrink=False)
        if solution is not None:
            yield solution

    def of_family(self) -> Iterator[Solution]:
        """Equal parts of the smallest budget that is enough, for each number of parts."""
        least, most = self._problem.parts
        wanted = self._problem.demand.macs
        for parts in range(least, most + 1):
            for kind in self.by_macs:
                if parts * self._problem.kinds[kind].macs < wanted:
                    continue
                solution = self._deal([kind] * parts, shrink=True)
                if solution is not None and solution.macs(self._problem) >= wanted:
                    yield solution
                    break

    def seat(self, board: int, kind: int) -> Seat | None:
        """The board with the part in what it computes fastest; None if it has no room."""
        option = self._fastest[board][kind]
        return None if option is None else Seat(board, option)

    def _deal(self, wanted: Sequence[int], *, shrink: bool) -> Solution | None:
        """Each part in turn to the fastest boards that are free and have room."""
        free, parts = self._order, []
        for first in wanted:
            smaller = reversed(self.by_macs[: self.by_macs.index(first)]) if shrink else ()
            for kind in (first, *smaller):
                if seats := self._seats(kind, free):
                    parts.append(PlannedPart(kind, seats))
                    taken = {seat.board for seat in seats}
                    free = [board for board in free if board not in taken]
                    break
            else:
                return None
        return Solution(tuple(parts))

    def _seats(self, kind: int, free: Sequence[int]) -> tuple[Seat, ...]:
        """The first boards that can share the part's images; empty if they cannot."""
        seats: list[Seat] = []
        needed = 1
        for board in free:
            seat = self.seat(board, kind)
            if seat is None:
                continue
            seats.append(seat)
            needed = max(needed, self._problem.replicas(seat.option))
            if needed <= len(seats):
                return tuple(seats)
        return ()

    def _pace(self, board: int) -> float:
        """Milliseconds for each multiply-accumulate, over the parts that fit."""
        pairs = zip(self._fastest[board], self._problem.kinds, strict=True)
        rates = [option.total_ms / kind.macs for option, kind in pairs if option is not None]
        return min(rates, default=float("inf"))


def _fastest(found: Sequence[Option]) -> Option | None:
    return min(found, key=lambda option: option.total_ms, default=None)
