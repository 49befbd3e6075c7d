"""The pictures of a report; this module alone imports matplotlib."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.ticker import MaxNLocator

from devit_iot.figures.style import BLUE, GREY, ORANGE, Drawing, Labels, new_figure
from devit_iot.teach.result import TeachResult
from devit_iot.teach.wrong import WrongPicture

_NUMBERED = 20
"""Classes up to which a confusion shows numbers and names."""

_DARK = 0.55
_COLUMNS = 6
_LONGEST = 22


def draw_confusion(result: TeachResult) -> Drawing:
    """Heat map of the classes: rows are the true ones; colour is the root of the share."""
    counts = np.array(result.confusion)
    shares = counts / counts.sum(axis=1, keepdims=True)
    names = [_short(found.name) for found in result.classes]
    classes = len(names)
    side = 2.4 + (0.5 * max(classes, 4) if classes <= _NUMBERED else 4.5)
    figure = new_figure(side, side)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel("given class")
    axes.set_ylabel("true class")
    axes.set_title("share of each true class's pictures")
    if classes <= _NUMBERED:
        axes.set_xticks(range(classes), names, rotation=90)
        axes.set_yticks(range(classes), names)
        for row, column in np.ndindex(classes, classes):
            dark = shares[row, column] ** 0.5 > _DARK
            axes.text(
                column, row, f"{100 * shares[row, column]:.0f}", ha="center", va="center",
                fontsize=9, color="white" if dark else "black",
            )  # fmt: skip
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    return Drawing(
        figure,
        f"Heat map of the confusion of {classes} classes: share of the pictures of each true "
        "class, by row, that were given each class, by column.",
    )


def draw_curve(result: TeachResult) -> Drawing:
    """Accuracy over the number of pictures of each class."""
    figure = new_figure(7.0, 4.0)
    axes = figure.subplots()
    sizes = [point.images for point in result.curve]
    top1 = [100 * point.top1 for point in result.curve]
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlim(min(sizes) / 1.3, max(sizes) * 1.5)
    axes.set_ylim(max(min(top1) - 8, 0), 103)
    axes.set_xlabel("pictures of each class")
    axes.set_ylabel("accuracy on pictures not seen, %")
    axes.grid(visible=True)
    axes.plot(sizes, top1, "-o", color=BLUE)
    labels = Labels(figure, axes)
    labels.avoid(sizes, top1)
    for size, value in zip(sizes, top1, strict=True):
        labels.put((size, value), f"{value:.1f}", BLUE, optional=True)
    said = ", ".join(f"{size}: {value:.1f} %" for size, value in zip(sizes, top1, strict=True))
    return Drawing(figure, f"Accuracy over the number of pictures of each class. {said}.")


def draw_lost(result: TeachResult) -> Drawing:
    """Accuracy over the number of lost parts."""
    figure = new_figure(7.0, 4.0)
    axes = figure.subplots()
    counts = [lost.count for lost in result.lost]
    mean = [100 * lost.mean for lost in result.lost]
    worst = [100 * lost.worst for lost in result.lost]
    axes.set_xlim(-0.4, counts[-1] + 0.6)
    axes.set_ylim(0, 104)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(f"lost parts, of {len(result.each_lost)}")
    axes.set_ylabel("accuracy on pictures not seen, %")
    axes.grid(visible=True)
    axes.axhline(100 / len(result.classes), color=GREY, linestyle="--", linewidth=1.5)
    axes.plot(counts, worst, "-o", color=ORANGE, markersize=5)
    axes.plot(counts, mean, "-o", color=BLUE)
    labels = Labels(figure, axes)
    for values in (mean, worst):
        labels.avoid(counts, values)
    labels.put((counts[-1], 100 / len(result.classes)), "by chance", GREY)
    labels.put((counts[-1], mean[-1]), "mean of all choices", BLUE)
    labels.put((counts[-1], worst[-1]), "worst choice", ORANGE)
    for count, value in zip(counts, mean, strict=True):
        labels.put((count, value), f"{value:.1f}", BLUE, optional=True)
    return Drawing(
        figure,
        f"Accuracy over the number of lost parts, from {mean[0]:.1f} % with none lost to "
        f"{mean[-1]:.1f} % on average and {worst[-1]:.1f} % at worst with {counts[-1]} lost.",
    )


def draw_wrong(pictures: Sequence[WrongPicture]) -> Drawing:
    """A sheet of pictures, each with the class that it was given and the one that it is of."""
    columns = min(_COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    figure = new_figure(1.8 * columns, 2.3 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, picture in zip(panels, pictures, strict=False):
        axes.imshow(picture.pixels)
        axes.set_title(
            f"{_short(picture.given)} {100 * picture.confidence:.0f} %\nis {_short(picture.true)}",
            fontsize=8,
        )
    for axes in panels:
        axes.set_axis_off()
    said = "; ".join(f"{picture.given} instead of {picture.true}" for picture in pictures)
    return Drawing(figure, f"Pictures that were given another class: {said}.")


def _short(name: str) -> str:
    """A name that no formula of matplotlib's is read from."""
    cut = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    return cut.replace("$", r"\$")
