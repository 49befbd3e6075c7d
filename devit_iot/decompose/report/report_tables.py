"""The tables of a report, as markdown."""

from collections.abc import Iterable, Sequence

from devit_iot.bundle.spec import SubVitSpec
from devit_iot.decompose.report.report_units import count, duration, percent, share, shorten, size
from devit_iot.decompose.run_folder.results import ModelResult, Results

LONGEST_NAME = 24
MOST_NAMES = 12
_SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_[]<>|#$~"})


def escape(text: str) -> str:
    """``text`` so that markdown shows it as it is, in a table too."""
    return text.translate(_SPECIAL)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A table whose first ``left`` columns are texts, all others numbers."""
    rule = [":--" if column < left else "--:" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def networks(results: Results) -> str:
    """Every network of the run, from the teacher to the fleet."""

    def row(name: str, model: ModelResult, test: str = "") -> list[str]:
        return [
            name,
            count(model.macs),
            share(model.macs, results.teacher.macs),
            count(model.parameters),
            percent(model.held_out_top1),
            test,
            duration(model.seconds),
        ]

    rows = [row("**teacher**", results.teacher, percent(results.teacher_test_top1))]
    if results.template is not None:
        rows.append(row("template of the parts", results.template))
    if results.first is not None:
        rows.append(row("first part, of which all are copies", results.first))
    for index, part in enumerate(results.parts):
        steps = {"teacher": part.teacher, "after the cut": part.shrunk, "student": part.distilled}
        rows += [row(f"part {index}: {name}", m) for name, m in steps.items() if m is not None]
    rows.append(row("**fleet**", results.fleet, percent(results.test_top1)))
    header = (
        "network", "MACs", "of teacher", "parameters", "held-out top-1", "test top-1", "training",
    )  # fmt: skip
    return table(header, rows)


def lost_parts(results: Results) -> str:
    """Top-1 for every number of lost parts."""
    rows = [[str(lost.count), percent(lost.mean), percent(lost.worst)] for lost in results.lost]
    return table(("lost parts", "mean top-1", "worst top-1"), rows, left=0)


def policy(results: Results) -> str:
    """Heads and MLP width that are left, per layer."""

    def row(name: str, spec: SubVitSpec) -> list[str]:
        cells = [f"{block.heads} / {block.mlp_dim}" for block in spec.blocks]
        return [name, *cells, *[""] * (layers - len(cells))]

    specs = [part.spec for part in results.parts]
    layers = max(len(spec.blocks) for spec in (results.teacher_spec, *specs))
    rows = [row("**teacher**", results.teacher_spec)]
    rows += [row(f"part {index}", spec) for index, spec in enumerate(specs)]
    return table(["heads / MLP", *(f"layer {k + 1}" for k in range(layers))], rows)


def confusion(results: Results) -> str:
    """Share of each true group's test images, by the group of the class they were given."""
    rows = [
        [f"true: part {index}", *map(percent, row)] for index, row in enumerate(results.confusion)
    ]
    return table(["", *(f"given: part {k}" for k in range(len(results.confusion)))], rows)


def parts(results: Results) -> str:
    """What each part is for, sees and is worth; long names and lists of classes are cut."""
    rows = []
    for index, (part, feature) in enumerate(zip(results.parts, results.feature_bytes, strict=True)):
        names = [escape(shorten(results.classes[label], LONGEST_NAME)) for label in part.classes]
        listed = ", ".join(names[:MOST_NAMES])
        if len(names) > MOST_NAMES:
            listed += f" and {len(names) - MOST_NAMES} more"
        rows.append(
            [
                *(f"part {index}", listed, str(part.spec.seen), str(len(names)), size(feature)),
                *(percent(part.alone), percent(part.without)),
            ]
        )
    header = ("", "classes", "view", "number", "feature", "alone", "without it")
    return table(header, rows, left=3)


def milestones(results: Results) -> str:
    """What each doubling of the joint training bought."""
    fleet = results.fleet
    rows = [
        [str(point.epochs), duration(point.seconds), percent(point.held_out_top1)]
        for point in fleet.milestones
    ]
    rows.append([str(len(fleet.history)), duration(fleet.seconds), percent(fleet.held_out_top1)])
    return table(("epochs", "time", "held-out top-1"), rows, left=0)
