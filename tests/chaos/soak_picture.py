"""Memory, descriptors, threads and label age over the time of a soak."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from devit_iot.figures.style import BLUE, GREEN, GREY, INK, ORANGE, STYLE, new_figure
from tests.chaos.traffic import Age
from tests.chaos.usage import Sample

_LINES = {
    "broker": (ORANGE, "broker"),
    "aggregator": (GREEN, "aggregator"),
    "node-0": (BLUE, "nodes"),
}
_WINDOWS = 60
_DPI = 80


class Percentiles(NamedTuple):
    """Percentiles of the label ages in each of some windows of time; minutes and milliseconds."""

    minutes: list[float]
    p50: list[float]
    p99: list[float]


def percentiles(ages: Sequence[Age], begin: float, seconds: float) -> Percentiles:
    """The percentiles of ``ages`` in the ``seconds`` after ``begin``, without empty windows."""
    found = Percentiles([], [], [])
    when = np.array([age.when - begin for age in ages])
    took = np.array([1e3 * age.seconds for age in ages])
    for window in range(_WINDOWS):
        left, right = window * seconds / _WINDOWS, (window + 1) * seconds / _WINDOWS
        inside = took[(when >= left) & (when < right)]
        if inside.size:
            found.minutes.append((left + right) / 120)
            found.p50.append(float(np.percentile(inside, 50)))
            found.p99.append(float(np.percentile(inside, 99)))
    return found


def draw(samples: Sequence[Sample], ages: Mapping[str, Percentiles], path: Path) -> None:
    """Write the picture as PNG."""
    with mpl.rc_context({**STYLE, "savefig.dpi": _DPI, "lines.linewidth": 1.5}):
        figure = new_figure(9.0, 7.5)
        memory, counts, age = figure.subplots(3, 1, sharex=True)
        minutes = [sample.seconds / 60 for sample in samples]
        for name in samples[0].usage:
            colour, label = _LINES.get(name, (BLUE, None))
            used = [sample.usage[name] for sample in samples]
            memory.plot(minutes, [u.resident_mib for u in used], color=colour, label=label)
            counts.plot(minutes, [u.descriptors for u in used], color=colour)
            counts.plot(minutes, [u.threads for u in used], color=colour, linestyle=":")
        for (camera, found), colour in zip(ages.items(), (INK, GREY), strict=True):
            age.plot(found.minutes, found.p50, color=colour, label=f"{camera}, median")
            age.plot(found.minutes, found.p99, color=colour, linestyle=":", label=f"{camera}, p99")
        _finish(memory, "resident memory, MiB")
        _finish(counts, "descriptors (line), threads (dots)")
        _finish(age, "from image to label, ms")
        memory.legend(frameon=False, ncols=3)
        age.legend(frameon=False, ncols=2)
        age.set_xlabel("minutes")
        figure.savefig(path, format="png")


def _finish(axes: Axes, title: str) -> None:
    axes.set_ylim(bottom=0)
    axes.set_title(title, loc="left")
    axes.grid(visible=True)
