"""What a person reads after a training: report.md and its pictures."""

from collections.abc import Sequence
from pathlib import Path

from devit_iot.decompose.report import figures, report_tables
from devit_iot.decompose.report.report_tables import escape
from devit_iot.decompose.report.report_units import (
    difference,
    duration,
    percent,
    share,
    shorten,
    size,
)
from devit_iot.decompose.run_folder.results import Results

REPORT = "report.md"
_LONGEST_TITLE = 80
_TEST = """\
Top-5 of the fleet is {top5}. Test images entered no choice: neither weights, nor shapes, nor the
temperature. All figures are of the float32 networks; `devit evaluate` measures a bundle as it is
stored and computed."""
_NETWORKS = """\
Held-out top-1 is on training images that were set aside: of all classes for teacher and fleet, of
its own group's classes for each part. MACs of the fleet are those of all parts together. All
trainings took {total}."""
_SIZES = """\
The view is what a part sees of the squared image. "Alone" is the test top-1 when all other parts
are lost, "without it" when only this part is: what losing its view of the image costs. A feature
is what one part sends for one image, {features} from all parts together. The bundle has
{bundle}."""
_CHOICES = """\
Over all choices of that many parts; numbers with too many choices to try are left out."""
_CALIBRATION = """\
The logits are divided by the temperature {temperature:.3f}, fitted on held-out images. The expected
calibration error on the test images is {after}; without the temperature it would be {before}."""


_METHODS = {
    "joint": "All parts learned together, from the first step.",
    "dekd": "Each part learned its own classes first; then all parts learned together.",
}
_FIRST = "One part learned first, on windows of the images; then its copies learned together."
_ANSWERS = """\
The teacher was asked once for each of {passes} files of answers, {size} together, in {time}."""
_MILESTONES = """\
What each doubling of the training's time bought so far; before the last line the learning rate was
still high, so that a training planned to end there would have reached more:"""


def write_report(folder: Path, results: Results, others: Sequence[Results] = ()) -> Path:
    """Write ``report.md`` and the pictures that it shows; earlier ones are replaced.

    Args:
        folder: made if it is missing.
        results: the results of a finished run.
        others: results of other fleets of the same teacher, for the picture of accuracy over
            boards.

    Returns:
        The path of ``report.md``, which is written last and whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = figures.write_pictures(folder, results, others)
    path = folder / REPORT
    partial = path.with_suffix(".partial")
    partial.write_text("\n\n".join(_sections(results, pictures)) + "\n", encoding="utf-8")
    partial.replace(path)
    return path


def headline(results: Results) -> str:
    """The run in a few sentences; every number is one of ``results`` or follows from two."""
    many = len(results.parts)
    largest = max(part.macs for part in results.parts)
    whole, teacher = results.test_top1, results.teacher_test_top1
    parts = "part" if many == 1 else "parts"
    said = (
        f"**The fleet of {many} {parts} has {percent(whole)} top-1 on {results.test_images} test "
        f"images, its teacher {percent(teacher)}: {difference(whole - teacher)}.** The largest "
        f"part takes {share(largest, results.teacher.macs)} of the teacher's multiply-accumulates "
        "(MACs)."
    )
    one = next((lost for lost in results.lost if lost.count == 1), None)
    if one is not None:
        said += (
            f" With one part lost, top-1 is {percent(one.mean)} on average "
            f"({difference(one.mean - whole)}) and {percent(one.worst)} at worst."
        )
    return said


def _sections(results: Results, pictures: dict[str, str]) -> list[str]:
    def picture(name: str) -> str:
        return f"![{pictures[name]}]({name})"

    trained = figures.LOSSES in pictures
    return [
        f"# {escape(shorten(results.name, _LONGEST_TITLE))}",
        headline(results),
        *([picture(figures.BOARDS)] if figures.BOARDS in pictures else []),
        picture(figures.ACCURACY),
        _TEST.format(top5=percent(results.test_top5)),
        "## Networks",
        _NETWORKS.format(total=duration(_seconds(results))),
        report_tables.networks(results),
        "## Parts",
        report_tables.parts(results),
        _SIZES.format(features=size(sum(results.feature_bytes)), bundle=size(results.bundle_bytes)),
        "## Lost parts",
        picture(figures.LOST),
        _CHOICES,
        report_tables.lost_parts(results),
        "## What shrinking left",
        picture(figures.POLICY),
        report_tables.policy(results),
        *_dropped_layers(results),
        "## Confusion between groups",
        picture(figures.CONFUSION),
        report_tables.confusion(results),
        "## Calibration",
        _CALIBRATION.format(
            temperature=results.temperature,
            before=percent(results.calibration_error[0]),
            after=percent(results.calibration_error[1]),
        ),
        "## Training",
        *_training(results),
        picture(figures.LOSSES) if trained else "No training has a history.",
    ]


def _training(results: Results) -> list[str]:
    said = [_METHODS[results.method] if results.first is None else _FIRST]
    asked = results.answers
    if asked is not None:
        said[0] += " " + _ANSWERS.format(
            passes=asked.passes, size=size(asked.size), time=duration(asked.seconds)
        )
    if results.fleet.milestones:
        said += [_MILESTONES, report_tables.milestones(results)]
    return said


def _seconds(results: Results) -> float:
    models = [results.teacher, results.fleet]
    models += [model for model in (results.template, results.first) if model is not None]
    for part in results.parts:
        models += [m for m in (part.teacher, part.shrunk, part.distilled) if m is not None]
    asked = 0.0 if results.answers is None else results.answers.seconds
    return asked + sum(model.seconds for model in models)


def _dropped_layers(results: Results) -> list[str]:
    depth = len(results.teacher_spec.blocks)
    if all(len(part.spec.blocks) == depth for part in results.parts):
        return []
    return ["Where whole layers went, those that are left are numbered anew."]
