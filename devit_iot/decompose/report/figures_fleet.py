"""Pictures of the whole fleet: accuracy over cost, lost parts, confusion between groups."""

import math

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator

from devit_iot.decompose.report.report_units import count, percent
from devit_iot.decompose.run_folder.results import Results
from devit_iot.figures.style import BLUE, GREEN, GREY, ORANGE, Drawing, Labels, new_figure

_DARK = 0.55
"""Of the colour map's range; beyond it, white numbers read better."""


def draw_accuracy(results: Results) -> Drawing:
    """Top-1 over the multiply-accumulates of all networks that answer together."""
    figure = new_figure(7.0, 4.4)
    axes = figure.subplots()
    parts = len(results.parts)
    each = [part.macs for part in results.parts]
    largest, total = max(each), sum(each)
    top1 = 100 * results.test_top1
    teacher = (results.teacher.macs, 100 * results.teacher_test_top1)
    running = [total * (parts - lost.count) / parts for lost in results.lost]
    means = [100 * lost.mean for lost in results.lost]
    costs = [*running, largest, teacher[0]]
    shown = [*means, top1, teacher[1]]
    axes.set_xscale("log")
    axes.set_xlim(min(costs) / 2, max(costs) * 2.5)
    axes.set_ylim(*_limits(shown))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.set_xlabel("multiply-accumulates per image, of all parts that answer")
    axes.set_ylabel("test top-1, %")
    axes.grid(visible=True)
    by_count = {
        lost.count: point for lost, *point in zip(results.lost, running, means, strict=True)
    }
    line = [by_count.get(k, (math.nan, math.nan)) for k in range(parts)]
    axes.plot(*zip(*line, strict=True), "-o", color=BLUE, markersize=5)
    axes.plot(*teacher, "s", color=ORANGE, markersize=8)
    axes.plot(total, top1, "o", color=BLUE, markersize=9)
    labels = Labels(figure, axes)
    labels.avoid(running, means)
    labels.avoid([teacher[0]], [teacher[1]])
    if parts > 1:
        axes.plot([largest, total], [top1, top1], ":", color=GREEN, linewidth=1.5, zorder=1)
        axes.plot(largest, top1, "D", color=GREEN, markerfacecolor="white", markersize=7)
        labels.avoid([largest, total], [top1, top1])
    labels.put(teacher, f"teacher {percent(results.teacher_test_top1)}", ORANGE)
    labels.put((total, top1), f"fleet {percent(results.test_top1)}", BLUE)
    if parts > 1:
        labels.put((largest, top1), f"on one device: at most {count(largest)}", GREEN)
    for lost, cost, mean in zip(results.lost, running, means, strict=True):
        if lost.count:
            labels.put((cost, mean), f"{lost.count} lost", BLUE, optional=True)
    return Drawing(
        figure,
        f"Test accuracy over multiply-accumulates: the teacher has "
        f"{percent(results.teacher_test_top1)} with {count(teacher[0])}, the fleet "
        f"{percent(results.test_top1)} with {count(total)} in {parts} parts of at most "
        f"{count(largest)}; a line goes down from there with every lost part.",
    )


def draw_lost(results: Results) -> Drawing:
    """Top-1 over the number of lost parts; untried numbers leave a gap."""
    figure = new_figure(7.0, 4.0)
    axes = figure.subplots()
    found = {lost.count: lost for lost in results.lost}
    counts = list(range(max(found) + 1))
    mean = [100 * found[k].mean if k in found else math.nan for k in counts]
    worst = [100 * found[k].worst if k in found else math.nan for k in counts]
    axes.set_xlim(-0.4, counts[-1] + 0.6)
    axes.set_ylim(0, 104)
    axes.set_yticks(range(0, 101, 20))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if len(counts) == 1:
        axes.set_xticks(counts)
    axes.set_xlabel(f"lost parts, of {len(results.parts)}")
    axes.set_ylabel("test top-1, %")
    axes.grid(visible=True)
    teacher = 100 * results.teacher_test_top1
    axes.axhline(teacher, color=GREY, linestyle="--", linewidth=1.5)
    axes.plot(counts, worst, "-o", color=ORANGE, markersize=5)
    axes.plot(counts, mean, "-o", color=BLUE)
    labels = Labels(figure, axes)
    labels.avoid(axes.get_xlim(), [teacher, teacher])
    known = sorted(found)
    for values in (mean, worst):
        labels.avoid(known, [values[k] for k in known])
    last = len(counts) - 1
    labels.put((last, teacher), f"teacher {percent(results.teacher_test_top1)}", GREY)
    if last:
        middle = known[(len(known) + 1) // 2]
        labels.put((middle, mean[middle]), "mean of all choices", BLUE)
        labels.put((middle, worst[middle]), "worst choice", ORANGE)
    for k in known:
        labels.put((k, mean[k]), f"{mean[k]:.1f}", BLUE, optional=True)
        if k:
            labels.put((k, worst[k]), f"{worst[k]:.1f}", ORANGE, optional=True)
    return Drawing(
        figure,
        f"Test accuracy over the number of lost parts, from {percent(found[0].mean)} with none "
        f"lost to {percent(found[last].mean)} on average and {percent(found[last].worst)} at "
        f"worst with {last} of {len(results.parts)} lost.",
    )


def draw_confusion(results: Results) -> Drawing:
    """Heat map of the groups: rows are the true ones; colour is the root of the share."""
    shares = np.array(results.confusion)
    groups = len(shares)
    side = 1.6 + 0.5 * max(groups, 4)
    figure = new_figure(side, side)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks(range(groups))
    axes.set_yticks(range(groups))
    axes.set_xlabel("part of the given class")
    axes.set_ylabel("part of the true class")
    for row, values in enumerate(shares):
        for column, share in enumerate(values):
            axes.text(
                column, row, f"{100 * share:.1f}" if math.isfinite(share) else "-",
                ha="center", va="center", fontsize=9,
                color="white" if math.sqrt(max(share, 0)) > _DARK else "black",
            )  # fmt: skip
    axes.set_title("% of the row's test images")
    return Drawing(
        figure,
        "Heat map of the confusion between groups: share of the test images of each group, by "
        f"row, that were given a class of each group, by column; {groups} groups. The same "
        "numbers are in the table below.",
    )


def _limits(values: list[float]) -> tuple[float, float]:
    """The limits of an axis in percent, with room for labels also where all values are equal."""
    room = 0.18 * max(max(values) - min(values), 4)
    return max(min(values) - room, -2), min(max(values) + room, 104)
