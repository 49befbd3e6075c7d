"""A plan as a table for people."""

from collections.abc import Iterator, Sequence

from devit_iot.planning.plan import Plan, PlannedBoard

_HEAD = (
    "board", "part", "replica", "dtype", "MMACs", "network ms", "decode ms", "compute ms",
    "total ms", "memory MiB", "energy J",
)  # fmt: skip


def text(plan: Plan) -> str:
    """The whole plan."""
    return "\n".join([*_table([_HEAD, *map(_row, plan.boards)]), "", *_summary(plan)])


def _summary(plan: Plan) -> Iterator[str]:
    boards, parts = len(plan.boards), plan.parts
    yield (
        f"{parts} {_plural('part', parts)} on {boards} {_plural('board', boards)}: "
        f"image to feature in {plan.slowest_ms:.3g} ms on the slowest one"
    )
    if plan.greedy_ms is not None:
        yield f"the greedy plan: {_compared(plan.greedy_ms, plan.slowest_ms)}"
    if plan.equal_ms is not None:
        yield f"equal parts on all boards: {_compared(plan.equal_ms, plan.slowest_ms)}"
    if plan.energy_j:
        yield f"energy of one image, all boards together: {plan.energy_j:.3g} J"
    if plan.accuracy is not None:
        yield f"test top-1: {plan.accuracy:.2%}"
    for spare in plan.spares:
        yield f"spare: {spare.name}, {spare.reason}"
    if plan.decompose:
        yield f"to make the parts: {plan.decompose}"


def _compared(other_ms: float, plan_ms: float) -> str:
    return f"{other_ms:.3g} ms, {other_ms / plan_ms:.2f} times as long"


def _row(board: PlannedBoard) -> tuple[str, ...]:
    return (
        board.name,
        str(board.part),
        board.replica,
        board.dtype,
        f"{board.mmacs:.0f}",
        f"{board.network_ms:.1f}",
        f"{board.decode_ms:.1f}",
        f"{board.compute_ms:.1f}",
        f"{board.total_ms:.1f}",
        f"{board.memory_mib:.0f} of {board.room_mib:.0f}",
        f"{board.energy_j:.3g}" if board.energy_j else "",
    )


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns aligned, the first to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]


def _plural(word: str, number: int) -> str:
    return word if number == 1 else f"{word}s"
