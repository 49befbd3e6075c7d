"""Bars: time, memory and cold start of every engine, a row of panels for each network."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes

from devit_iot.bench.peers import OURS
from devit_iot.bench.report import BenchReport, EngineResult, NetworkResult, digits
from devit_iot.figures.style import BLUE, GREY, INK, PALE, STYLE, new_figure

_WIDTH, _ROW, _BAR, _HEAD = 10.5, 0.75, 0.27, 0.55
"""Inches."""
_THICK = 0.72
_ROOM = 1.38
"""Of the axis beyond the longest bar, for its label."""
_REST, _ALARM = "#B9C4CC", "#B00020"


class _Panel(NamedTuple):
    title: str
    value: Callable[[EngineResult], float]
    label: Callable[[EngineResult], str]


_PANELS = (
    _Panel("time of one image, ms", lambda e: e.ms, lambda e: f"{digits(e.ms)}  ({e.share:.0%})"),
    _Panel("memory, MB", lambda e: e.resident_mb, lambda e: f"{e.resident_mb:.0f}"),
    _Panel("cold start, s", lambda e: e.cold_start_s, lambda e: f"{e.cold_start_s:.2f}"),
)


def draw(report: BenchReport, path: Path) -> None:
    """Write the picture of ``report`` as PNG."""
    heights = [_ROW + _BAR * len(network.engines) for network in report.networks]
    with mpl.rc_context({**STYLE, "axes.grid.axis": "x"}):
        figure = new_figure(_WIDTH, sum(heights) + _HEAD)
        grid = figure.subplots(
            len(report.networks), len(_PANELS), squeeze=False, height_ratios=heights,
            width_ratios=(2.0, 1.0, 1.0),
        )  # fmt: skip
        for row, network in zip(grid, report.networks, strict=True):
            for panel, axes in zip(_PANELS, row, strict=True):
                _bars(axes, network, panel)
            row[0].set_title(_title(network), loc="left", fontweight="bold")
            _floor(row[0], network, report.threads)
        for panel, axes in zip(_PANELS, grid[-1], strict=True):
            axes.set_xlabel(panel.title)
        threads = f"{report.threads} thread{'s' if report.threads > 1 else ''}"
        machine = report.machine
        figure.suptitle(
            f"{report.dtype}, one image at a time, {threads}, {machine.processor} {machine.isa}; "
            "in brackets the share of the FMA peak, dashed the time at that peak",
            fontsize=11, ha="left", x=0.012,
        )  # fmt: skip
        figure.savefig(path, format="png")


def _bars(axes: Axes, network: NetworkResult, panel: _Panel) -> None:
    """One bar an engine, ours on top, the peers from the fastest down."""
    ours = [engine for engine in network.engines if engine.engine == OURS]
    peers = [engine for engine in network.engines if engine.engine != OURS]
    engines = ours + sorted(peers, key=lambda engine: engine.ms)
    values = [panel.value(engine) for engine in engines]
    colours = [BLUE if engine.engine == OURS else _REST for engine in engines]
    places = range(len(engines))
    axes.barh(places, values, height=_THICK, color=colours)
    for place, engine, value in zip(places, engines, values, strict=True):
        axes.annotate(
            panel.label(engine), (value, place), (4, 0), textcoords="offset points",
            va="center", fontsize=9, color=INK if engine.sound else _ALARM,
            fontweight="bold" if engine.engine == OURS else "normal",
        )  # fmt: skip
    names = [engine.engine if engine.sound else f"{engine.engine}, WRONG" for engine in engines]
    axes.set_yticks(places, names if panel is _PANELS[0] else [])
    axes.set_ylim(len(engines) - 0.4, -0.6)
    axes.set_xlim(0, _ROOM * max(values))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_color(PALE)


def _floor(axes: Axes, network: NetworkResult, threads: int) -> None:
    """The time that the multiply-adds take at the cores' peak."""
    floor = 2e-6 * network.macs / (network.peak_gflops * threads)
    axes.axvline(floor, color=GREY, linewidth=1.0, linestyle=(0, (4, 3)))


def _title(network: NetworkResult) -> str:
    title = f"{network.name}  {network.what}"
    if network.fastest_peer:
        title += f": {network.speedup:.2f} times as fast as {network.fastest_peer}"
    return title
