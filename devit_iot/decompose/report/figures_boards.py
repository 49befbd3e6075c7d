"""The picture that decides how many boards to buy: accuracy over the number of boards."""

from collections.abc import Sequence

from matplotlib.ticker import MaxNLocator

from devit_iot.decompose.report.report_units import percent
from devit_iot.decompose.run_folder.results import Results
from devit_iot.figures.style import BLUE, GREEN, GREY, INK, ORANGE, Drawing, Labels, new_figure

_COLOURS = (BLUE, ORANGE, GREEN, INK)


def budget(results: Results) -> str:
    """What each board may cost, as a share of the teacher: "30 %", or "50, 30, 10, 10 %"."""
    shares = [round(100 * part.macs / results.teacher.macs) for part in results.parts]
    each = shares[:1] if max(shares) - min(shares) <= 1 else shares
    return f"{', '.join(map(str, each))} %"


def draw_boards(fleets: Sequence[Results]) -> Drawing | None:
    """Test top-1 over the number of boards: a line for each budget, and what lost boards leave.

    Args:
        fleets: results of all fleets of one teacher.

    Returns:
        None for fewer than two fleets.
    """
    if len(fleets) < 2:  # noqa: PLR2004
        return None
    lines: dict[str, list[Results]] = {}
    for fleet in sorted(fleets, key=lambda fleet: len(fleet.parts)):
        lines.setdefault(budget(fleet), []).append(fleet)
    figure = new_figure(7.0, 4.4)
    axes = figure.subplots()
    teacher = 100 * fleets[0].teacher_test_top1
    most = max(len(fleet.parts) for fleet in fleets)
    lost = {
        name: [(len(line[-1].parts) - lost.count, 100 * lost.mean) for lost in line[-1].lost]
        for name, line in lines.items()
    }
    points = {
        name: [(len(fleet.parts), 100 * fleet.test_top1) for fleet in line]
        for name, line in lines.items()
    }
    shown = [teacher, *(y for line in points.values() for _, y in line)]
    low = min(shown + [y for line in lost.values() for x, y in line if x > most / 2])
    axes.set_xlim(0.6, most + 0.9)
    axes.set_ylim(low - 2, max(shown) + 2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("boards that answer")
    axes.set_ylabel("test top-1, %")
    axes.grid(visible=True)
    axes.axhline(teacher, color=GREY, linestyle="--", linewidth=1.5)
    labels = Labels(figure, axes)
    labels.avoid(axes.get_xlim(), [teacher, teacher])
    for colour, name in zip(_COLOURS, points, strict=False):
        axes.plot(*zip(*lost[name], strict=True), ":", color=colour, linewidth=1.5)
        axes.plot(*zip(*points[name], strict=True), "-o", color=colour)
        labels.avoid(*zip(*lost[name], strict=True))
        labels.avoid(*zip(*points[name], strict=True))
    labels.put((most, teacher), f"teacher {teacher:.1f}", GREY)
    for colour, name in zip(_COLOURS, points, strict=False):
        labels.put(points[name][-1], f"{name} of the teacher each", colour)
        for point in points[name]:
            labels.put(point, f"{point[1]:.1f}", colour, optional=True)
    said = "; ".join(
        f"{name} of the teacher each: {', '.join(map(_said, line))}" for name, line in lines.items()
    )
    return Drawing(
        figure,
        f"Test accuracy over the number of boards. The teacher has {teacher:.2f} %. {said}. "
        "Dotted: the largest fleet with boards lost.",
    )


def _said(fleet: Results) -> str:
    boards = len(fleet.parts)
    return f"{boards} board{'s' if boards > 1 else ''} {percent(fleet.test_top1)}"
