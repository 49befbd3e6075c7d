"""How all pictures of a report look, and labels beside points that cover nothing."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

# Okabe and Ito's palette: told apart by colour-blind readers, and in print by lightness.
BLUE, ORANGE, GREEN, INK, GREY, PALE = (
    "#0072B2", "#D55E00", "#009E73", "#222222", "#767676", "#E4E4E4",
)  # fmt: skip

STYLE: Mapping[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture everywhere
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid.axis": "y",
    "grid.color": PALE,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.constrained_layout.w_pad": 0.1,  # inches
    "figure.constrained_layout.h_pad": 0.1,
    "savefig.dpi": 160,
    "lines.linewidth": 2.0,
    "lines.markersize": 6.0,
}

_GAP = 8.0
"""From a point to its label, in typographic points."""
_SIDES: tuple[tuple[float, float, str, str], ...] = (
    (1, 0, "left", "center"),
    (0, 1, "center", "bottom"),
    (0, -1, "center", "top"),
    (0.7, 0.7, "left", "bottom"),
    (0.7, -0.7, "left", "top"),
    (-0.7, 0.7, "right", "bottom"),
    (-0.7, -0.7, "right", "top"),
    (-1, 0, "right", "center"),
)
_FAR: tuple[tuple[float, float, str, str], ...] = (
    (0, 2.2, "center", "bottom"),
    (0, -2.2, "center", "top"),
)
_SAMPLES = 200
_OUTSIDE = 10_000


class Drawing(NamedTuple):
    """A picture and the words for those who do not see it."""

    figure: Figure
    alt: str


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, sides in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


class Labels:
    """Puts texts beside points where they cover no line, no point and no other text."""

    def __init__(self, figure: Figure, axes: Axes) -> None:
        """Measure ``axes`` of ``figure``; limits and axis labels must be final."""
        figure.draw_without_rendering()
        self._axes = axes
        self._frame = np.array(axes.get_window_extent().extents)
        self._margin = figure.dpi / 72 * 2
        self._taken = np.empty((0, 4))  # left, bottom, right, top, in pixels

    def avoid(self, x: Sequence[float], y: Sequence[float]) -> None:
        """Keep texts off the points and the line through them."""
        pixels = self._axes.transData.transform(np.column_stack([x, y]))
        steps = np.linspace(0, len(pixels) - 1, _SAMPLES)
        at = np.arange(len(pixels))
        line = np.column_stack([np.interp(steps, at, pixels[:, axis]) for axis in (0, 1)])
        self._take(np.hstack([line, line]))

    def put(
        self, point: tuple[float, float], text: str, colour: str, *, optional: bool = False
    ) -> None:
        """Write ``text`` at the best free side of ``point``; nothing if optional and none is."""
        notes = []
        for right, up, horizontal, vertical in _SIDES + (() if optional else _FAR):
            note = self._axes.annotate(
                text, point, (right * _GAP, up * _GAP), textcoords="offset points",
                ha=horizontal, va=vertical, color=colour, fontsize=9,
            )  # fmt: skip
            note.set_in_layout(False)
            box = np.array(note.get_window_extent().extents)
            notes.append((self._covered(box), note, box))
            if notes[-1][0] == 0:
                break
        covered, best, box = min(notes, key=lambda found: found[0])
        write = covered == 0 or not optional
        for _, note, _ in notes:
            if note is not best or not write:
                note.remove()
        if write:
            self._take(box[None])

    def _covered(self, box: NDArray[np.float64]) -> int:
        """How much ``box`` would cover; outside of the axes is worse than all else."""
        inside = (box[:2] >= self._frame[:2]).all() and (box[2:] <= self._frame[2:]).all()
        overlaps = (self._taken[:, :2] < box[2:]) & (self._taken[:, 2:] > box[:2])
        return int(overlaps.all(axis=1).sum()) + (0 if inside else _OUTSIDE)

    def _take(self, boxes: NDArray[np.float64]) -> None:
        margin = self._margin * np.array([-1, -1, 1, 1])
        self._taken = np.vstack([self._taken, boxes + margin])
