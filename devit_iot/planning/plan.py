"""A plan as people read it and as programs take it: who carries what, and what that costs."""

import shlex
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from devit_iot.bundle.storage import Dtype
from devit_iot.planning.exact import solve
from devit_iot.planning.greedy import equal_parts, greedy
from devit_iot.planning.problem import Problem, Solution


class PlannedBoard(msgspec.Struct, frozen=True):
    """A board of the fleet and its part.

    Attributes:
        name: name of the board.
        part: index of its part.
        replica: ``i/n``: it computes every n-th image.
        dtype: what it computes in.
        mmacs: millions of multiply-accumulates of the part.
        network_ms: time of the image to the board and the feature back.
        decode_ms: time of decoding and resizing the image.
        compute_ms: time of the engine.
        total_ms: from the image's publication to the feature's arrival, predicted.
        memory_mib: MiB that the part takes.
        room_mib: MiB that the board has for parts.
        energy_j: joules of one image; 0: unknown.
    """

    name: str
    part: int
    replica: str
    dtype: Dtype
    mmacs: float
    network_ms: float
    decode_ms: float
    compute_ms: float
    total_ms: float
    memory_mib: float
    room_mib: float
    energy_j: float


class SpareBoard(msgspec.Struct, frozen=True):
    """A board without a part.

    Attributes:
        name: name of the board.
        reason: why it has none, in words.
    """

    name: str
    reason: str


class Family(NamedTuple):
    """Where the parts come from.

    Attributes:
        name: for people: a bundle's folder, a teacher's, or a recipe.
        fingerprint: the bundle's fingerprint; empty for parts that are still to be made.
        teacher_macs: multiply-accumulates of the teacher; 0 for a bundle.
        accuracy: test top-1 of the bundle, where its run's results lie beside it; None: unknown.
        recipe: recipe that makes the parts; a stand-in where none was named.
    """

    name: str
    fingerprint: str = ""
    teacher_macs: int = 0
    accuracy: float | None = None
    recipe: str = "RECIPE"


class Plan(msgspec.Struct, frozen=True):
    """What ``devit plan`` writes.

    Attributes:
        family: where the parts come from: a bundle's folder, a teacher's, or a recipe.
        parts: number of parts.
        slowest_ms: image to feature on the slowest board, predicted.
        boards: who carries what, in the order of the parts.
        spares: boards without a part.
        fingerprint: the bundle's fingerprint; empty for parts that are still to be made.
        decompose: the command that makes the parts; empty for a bundle.
        greedy_ms: the slowest board of the greedy plan; null: it finds none.
        equal_ms: the slowest board if all carry equal parts; null: that is not possible.
        energy_j: joules that all boards together take for one image; 0: unknown.
        accuracy: test top-1 of the bundle, fraction; null: unknown.
    """

    family: str
    parts: int
    slowest_ms: float
    boards: tuple[PlannedBoard, ...]
    spares: tuple[SpareBoard, ...] = ()
    fingerprint: str = ""
    decompose: str = ""
    greedy_ms: float | None = None
    equal_ms: float | None = None
    energy_j: float = 0.0
    accuracy: float | None = None


def make_plan(problem: Problem, family: Family) -> Plan:
    """The best plan, and what it is compared with.

    Raises:
        ConfigError: there is no plan.
        DevitError: the solver is missing, or gave up.
    """
    best = solve(problem)
    dealt = greedy(problem)
    same = None if problem.whole else equal_parts(problem)
    return Plan(
        family=family.name,
        parts=len(best.parts),
        slowest_ms=_short(best.slowest_ms),
        boards=tuple(_boards(problem, best)),
        spares=tuple(_spares(problem, best)),
        fingerprint=family.fingerprint,
        decompose="" if problem.whole else _decompose(problem, best, family.recipe),
        greedy_ms=None if dealt is None else _short(dealt.slowest_ms),
        equal_ms=None if same is None else _short(same.slowest_ms),
        energy_j=_energy(best),
        accuracy=family.accuracy,
    )


def _boards(problem: Problem, solution: Solution) -> Iterator[PlannedBoard]:
    for index, part in enumerate(solution.parts):
        for turn, (board, option) in enumerate(part.seats):
            profile = problem.boards[board]
            yield PlannedBoard(
                name=profile.name,
                part=index,
                replica=f"{turn}/{len(part.seats)}",
                dtype=option.dtype,
                mmacs=_short(problem.kinds[part.kind].macs / 1e6),
                network_ms=_short(option.network_ms),
                decode_ms=_short(option.decode_ms),
                compute_ms=_short(option.compute_ms),
                total_ms=_short(option.total_ms),
                memory_mib=_short(option.memory_mib),
                room_mib=float(profile.memory_mib - profile.overhead_mib),
                energy_j=_short(option.energy_j),
            )


def _spares(problem: Problem, solution: Solution) -> Iterator[SpareBoard]:
    used = {seat.board for part in solution.parts for seat in part.seats}
    for board, profile in enumerate(problem.boards):
        if board not in used:
            yield SpareBoard(profile.name, _why_spare(problem, board, solution.slowest_ms))


def _why_spare(problem: Problem, board: int, slowest_ms: float) -> str:
    options = [option for found in problem.options[board] for option in found]
    if not options:
        room = problem.boards[board].memory_mib - problem.boards[board].overhead_mib
        return f"no part fits into its {room} MB"
    fastest = min(option.total_ms for option in options)
    if fastest > slowest_ms:
        return f"it would slow the fleet: {fastest:.0f} ms with the part that suits it best"
    return "every part has its board"


def _decompose(problem: Problem, solution: Solution, recipe: str) -> str:
    budgets = [f"{problem.kinds[part.kind].budget:.4g}" for part in solution.parts]
    options = f"--parts {len(budgets)} --macs {','.join(budgets)}"
    return f"devit decompose run {shlex.quote(recipe)} {options}"


def _energy(solution: Solution) -> float:
    """Joules of one image on all boards together; 0: unknown.

    Replicas share the images, so each part counts with the mean of its boards.
    """
    each = [[seat.option.energy_j for seat in part.seats] for part in solution.parts]
    if not all(energy > 0 for energies in each for energy in energies):
        return 0.0
    return _short(sum(sum(energies) / len(energies) for energies in each))


def _short(value: float) -> float:
    return float(f"{value:.4g}")
