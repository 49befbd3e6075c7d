"""Pictures of the parts and of the training: what was cut, and how the losses fell."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from devit_iot.bundle.spec import BlockSpec, SubVitSpec
from devit_iot.decompose.report.report_units import share
from devit_iot.decompose.run_folder.results import History, Results
from devit_iot.figures.style import BLUE, GREEN, PALE, Drawing, new_figure

_COLUMNS = 4
_ALL_TICKS = 12
Curves = Sequence[Sequence[float]]


def draw_policy(results: Results) -> Drawing:
    """Per part and layer, the heads that are left upwards, the MLP's neurons downwards."""
    parts = len(results.parts)
    columns = min(parts, _COLUMNS)
    rows = math.ceil(parts / columns)
    figure = new_figure(max(1.1 + 2.4 * columns, 4.5), 0.4 + 1.8 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for index, part in enumerate(results.parts):
        _draw_shape(panels[index], part.spec, results.teacher_spec)
        cost = share(part.macs, results.teacher.macs)
        panels[index].set_title(f"part {index}: {cost} of the MACs")
    for axes in panels[parts:]:
        axes.set_visible(False)
    for axes in panels[::columns]:
        axes.set_ylabel("MLP        heads")
    for axes in panels[max(parts - columns, 0) : parts]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel("layer (pale: the teacher's)", fontsize=10)
    return Drawing(
        figure,
        f"For each of {parts} parts and each layer, the share of the teacher's attention heads, "
        "upwards, and of its MLP width, downwards, that shrinking left. The numbers are in the "
        "table below.",
    )


def _draw_shape(axes: Axes, spec: SubVitSpec, teacher: SubVitSpec) -> None:
    layers = range(1, len(teacher.blocks) + 1)
    axes.bar(layers, 1.0, color=PALE)
    axes.bar(layers, -1.0, color=PALE)
    kept = range(1, len(spec.blocks) + 1)
    pairs = [
        (block, reference_block(teacher, spec, index)) for index, block in enumerate(spec.blocks)
    ]
    axes.bar(kept, [block.heads / whole.heads for block, whole in pairs], color=BLUE)
    axes.bar(kept, [-block.mlp_dim / whole.mlp_dim for block, whole in pairs], color=GREEN)
    axes.axhline(0, color="white", linewidth=2)
    axes.set_xlim(0.4, max(len(teacher.blocks), len(spec.blocks)) + 0.6)
    axes.set_yticks([-1, -0.5, 0.5, 1], ["100 %", "50 %", "50 %", "100 %"])
    axes.set_ylim(-1.02, 1.02)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    if len(teacher.blocks) <= _ALL_TICKS:
        axes.set_xticks(list(layers))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def reference_block(teacher: SubVitSpec, spec: SubVitSpec, index: int) -> BlockSpec:
    """What block ``index`` of a part is compared with: the teacher's, or the teacher's widest.

    Where whole blocks went, a part's shape does not tell which.
    """
    if len(teacher.blocks) == len(spec.blocks):
        return teacher.blocks[index]
    return BlockSpec(
        max(block.heads for block in teacher.blocks), max(block.mlp_dim for block in teacher.blocks)
    )


def stages(results: Results) -> dict[str, list[History]]:
    """The histories of each stage that has any, in the order of the training."""

    def of_parts(name: str) -> list[History]:
        models = [getattr(part, name) for part in results.parts]
        return [model.history for model in models if model is not None]

    found = {
        "teacher": [results.teacher.history],
        "part teachers": of_parts("teacher"),
        "after the cut": of_parts("shrunk"),
        "students": of_parts("distilled"),
        "fleet": [results.fleet.history],
    }
    return {
        name: [history for history in histories if history]
        for name, histories in found.items()
        if any(histories)
    }


def draw_losses(results: Results) -> Drawing | None:
    """Every stage's losses over its epochs; None if nothing was trained."""
    curves = {name: _terms(histories) for name, histories in stages(results).items()}
    drawn = [
        (f"{stage}: {term}", lines)
        for stage, terms in curves.items()
        for term, lines in terms.items()
    ]
    if not drawn:
        return None
    columns = min(len(drawn), _COLUMNS)
    rows = math.ceil(len(drawn) / columns)
    figure = new_figure(max(2.5 * columns, 4.5), 0.5 + 1.9 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (title, lines) in zip(panels, drawn, strict=False):
        _draw_curves(axes, lines)
        axes.set_title(title, loc="left")
    for axes in panels[len(drawn) :]:
        axes.set_visible(False)
    several = any(len(lines) > 1 for _, lines in drawn)
    hint = " (thin: single parts, bold: their mean)" if several else ""
    figure.supxlabel(f"epoch{hint}", fontsize=10)
    listed = "; ".join(f"{stage}: {', '.join(terms)}" for stage, terms in curves.items())
    return Drawing(figure, f"Mean training losses over the epochs of each stage. {listed}.")


def _terms(histories: Sequence[History]) -> Mapping[str, Curves]:
    names = dict.fromkeys(name for history in histories for epoch in history for name in epoch)
    single = len(names.keys() - {"loss"}) == 1
    ordered = [name for name in names if name != "loss"]
    if "loss" in names and not single:
        ordered.insert(0, "loss")
    return {
        name: [[epoch.get(name, math.nan) for epoch in history] for history in histories]
        for name in ordered
    }


def _draw_curves(axes: Axes, lines: Curves) -> None:
    several = len(lines) > 1
    for line in lines:
        style = {"linewidth": 0.9, "alpha": 0.4} if several else {}
        _draw_curve(axes, line, style)
    longest = max(len(line) for line in lines)
    if several:
        columns = [[line[k] for line in lines if k < len(line)] for k in range(longest)]
        _draw_curve(axes, [sum(values) / len(values) for values in columns], {})
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.set_xlim(0.5, longest + 0.5)
    axes.grid(visible=True)


def _draw_curve(axes: Axes, line: Sequence[float], style: Mapping[str, float]) -> None:
    points = {k: value for k, value in enumerate(line, 1) if math.isfinite(value)}
    marker = "o" if len(points) == 1 else ""
    axes.plot(
        list(points),
        list(points.values()),
        color=BLUE,
        marker=marker,
        linewidth=style.get("linewidth", 2.0),
        alpha=style.get("alpha", 1.0),
    )
