"""A plan as a picture: time, memory and energy of each board."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes

from devit_iot.figures.style import BLUE, GREEN, GREY, INK, ORANGE, PALE, STYLE, new_figure
from devit_iot.planning.plan import Plan, PlannedBoard

_WIDTH, _HEAD, _BAR = 10.5, 1.3, 0.34
"""Inches."""
_THICK = 0.7
_ROOM = 1.25
"""Of an axis beyond the longest bar, for its label."""


def draw(plan: Plan, path: Path) -> None:
    """Write the picture of ``plan`` as PNG."""
    with mpl.rc_context({**STYLE, "axes.grid.axis": "x"}):
        figure = new_figure(_WIDTH, _HEAD + _BAR * len(plan.boards))
        time, memory, energy = figure.subplots(1, 3, width_ratios=(2.0, 1.0, 1.0))
        _time(time, plan)
        _memory(memory, plan)
        _energy(energy, plan)
        for axes in (time, memory, energy):
            axes.set_ylim(len(plan.boards) - 0.4, -0.6)
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_color(PALE)
        figure.suptitle(_title(plan), fontsize=11, ha="left", x=0.012)
        figure.savefig(path, format="png")


def _time(axes: Axes, plan: Plan) -> None:
    places = range(len(plan.boards))
    start = [0.0] * len(plan.boards)
    for colour, name in ((GREY, "network"), (ORANGE, "decode"), (BLUE, "compute")):
        values = [getattr(board, f"{name}_ms") for board in plan.boards]
        axes.barh(places, values, left=start, height=_THICK, color=colour, label=name)
        start = [before + value for before, value in zip(start, values, strict=True)]
    for place, board in zip(places, plan.boards, strict=True):
        _note(axes, board.total_ms, place, f"{board.total_ms:.0f}")
    axes.set_yticks(places, [_name(board) for board in plan.boards])
    axes.axvline(plan.slowest_ms, color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
    axes.set_xlim(0, _ROOM * plan.slowest_ms)
    axes.set_xlabel("image to feature, ms")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=9)


def _memory(axes: Axes, plan: Plan) -> None:
    places = range(len(plan.boards))
    axes.barh(places, [board.room_mib for board in plan.boards], height=_THICK, color=PALE)
    axes.barh(places, [board.memory_mib for board in plan.boards], height=_THICK, color=GREEN)
    for place, board in zip(places, plan.boards, strict=True):
        _note(axes, board.memory_mib, place, f"{board.memory_mib:.0f}")
    axes.set_yticks(places, [])
    axes.set_xlim(0, _ROOM * max(board.room_mib for board in plan.boards))
    axes.set_xlabel("memory of the part, MB (pale: room)")


def _energy(axes: Axes, plan: Plan) -> None:
    places = range(len(plan.boards))
    values = [board.energy_j for board in plan.boards]
    axes.barh(places, values, height=_THICK, color=ORANGE)
    for place, value in zip(places, values, strict=True):
        _note(axes, value, place, f"{value:.2g}" if value else "unknown")
    axes.set_yticks(places, [])
    axes.set_xlim(0, _ROOM * (max(values) or 1.0))
    axes.set_xlabel("energy of one image, J")


def _name(board: PlannedBoard) -> str:
    shared = "" if board.replica == "0/1" else f", {board.replica}"
    return f"{board.name}: part {board.part}{shared}"


def _note(axes: Axes, x: float, y: int, said: str) -> None:
    axes.annotate(said, (x, y), (4, 0), textcoords="offset points", va="center", fontsize=9)


def _title(plan: Plan) -> str:
    said = f"{plan.parts} parts, {plan.slowest_ms:.0f} ms on the slowest board (dashed)"
    if plan.greedy_ms is not None:
        said += f"; greedy {plan.greedy_ms:.0f} ms"
    if plan.equal_ms is not None:
        said += f"; equal parts {plan.equal_ms:.0f} ms"
    if plan.accuracy is not None:
        said += f"; test top-1 {plan.accuracy:.1%}"
    return said
