"""The growth curves of ``scale.py``: a panel for each thing that grows."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from matplotlib.figure import Figure
from scale_rows import Result, Row

from devit_iot.figures.style import BLUE, Drawing
from devit_iot.figures.writing import write_picture

_PANELS = {
    "cameras": Row(),
    "parts": Row(),
    "replicas": Row(parts=1, engine_ms=200.0, delivery="every"),
    "shards": Row(),
}


def draw_growth(path: Path, results: Sequence[Result]) -> None:
    """Write the picture: images a second over the number of cameras, parts, replicas, shards."""

    def draw() -> Drawing:
        figure = Figure(figsize=(9.0, 2.8), layout="constrained")
        for axes, (name, base) in zip(figure.subplots(1, 4), _PANELS.items(), strict=True):
            points = sorted(
                (getattr(r.row, name), r.rate)
                for r in results
                if msgspec.structs.replace(r.row, **{name: getattr(base, name)}) == base
            )
            axes.plot([x for x, _ in points], [y for _, y in points], "o-", color=BLUE)
            axes.set_xlabel(name)
            axes.set_ylim(bottom=0)
        figure.axes[0].set_ylabel("images/s")
        alt = "Images a second with labels of 99 of 100 in 200 ms over the number of cameras, parts"
        return Drawing(figure, f"{alt} and shards; and of a backlog, over the number of replicas")

    write_picture(path, draw)
