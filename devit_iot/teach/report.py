"""What a person reads after teaching: report.md and its pictures, and report.json."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from devit_iot.errors import ConfigError, DataError
from devit_iot.evaluation.lost_parts import LostParts
from devit_iot.protocol.text import shown
from devit_iot.teach.result import TeachResult
from devit_iot.teach.wrong import WrongPicture

REPORT = "report.md"
RESULT = "report.json"

_LISTED = 100
"""Wrong pictures, and confused pairs, that a report lists."""

_MEASURED = """\
Each of {measured} pictures was asked of a fit that saw neither it nor another one of its moment:
five folds, each answered by a fit on the other four. The head itself was fitted on all {images}
pictures, of {moments} moments."""
_INTERVAL = """\
So many pictures tell the accuracy only so well: of further pictures like these, {low} to {high}
will be right (with 95 % confidence)."""
_CONFIDENCE = """\
Scores are divided by the temperature {temperature:.3f}, fitted to the same answers; the expected
calibration error is {ece}."""
_UNKNOWN = """\
Below a confidence of {unknown} the answer is `unknown`: that leaves {answered} of the pictures, of
which {right} are right."""


def write_report(folder: Path, result: TeachResult, wrong: Sequence[WrongPicture]) -> Path:
    """Write ``report.md``, its pictures and ``report.json``; earlier ones are replaced.

    Args:
        folder: made if it is missing.
        result: result of teaching.
        wrong: the pictures to show.

    Returns:
        The path of ``report.md``, which is written last and whole.

    Raises:
        ConfigError: matplotlib is not installed.
        DataError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RESULT).write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
        text = report_text(result, _draw(folder, result, wrong))
        partial = folder / f"{REPORT}.partial"
        partial.write_text(text)
        partial.replace(folder / REPORT)
    except OSError as error:
        raise DataError(f"cannot write the report to {folder}: {error.strerror}") from error
    return folder / REPORT


def _draw(folder: Path, result: TeachResult, wrong: Sequence[WrongPicture]) -> dict[str, str]:
    """Write the pictures; their alternative texts by name. Earlier ones do not stay."""
    try:
        from devit_iot.figures.writing import write_picture
        from devit_iot.teach import figures
    except ImportError as error:
        raise ConfigError(
            f"the report's pictures need matplotlib ({error}): pip install 'devit-iot[teach]'"
        ) from error
    draw = {
        "confusion": lambda: figures.draw_confusion(result),
        "curve": lambda: figures.draw_curve(result),
        "lost_parts": lambda: figures.draw_lost(result),
        "wrong": lambda: figures.draw_wrong(wrong),
    }
    for name in draw:
        (folder / f"{name}.png").unlink(missing_ok=True)
    if not result.each_lost:
        del draw["lost_parts"]
    if not wrong:
        del draw["wrong"]
    return {
        name: write_picture(folder / f"{name}.png", function) for name, function in draw.items()
    }


def report_text(result: TeachResult, pictures: dict[str, str]) -> str:
    """The report as markdown.

    Args:
        result: result of teaching.
        pictures: alternative texts by the names of the pictures that there are.
    """
    sections = [
        f"# Head '{_plain(result.head)}' of bundle '{_plain(result.bundle)}'",
        f"**{percent(result.top1)}** of pictures that no fit saw. Version `{result.version}`.",
        _INTERVAL.format(low=percent(result.interval[0]), high=percent(result.interval[1])),
        _MEASURED.format(measured=result.measured, images=result.images, moments=result.moments),
        *_left_out(result),
        _CONFIDENCE.format(temperature=result.temperature, ece=percent(result.ece)),
    ]
    if result.unknown:
        sections.append(
            _UNKNOWN.format(
                unknown=percent(result.unknown),
                answered=percent(result.answered),
                right=percent(result.answered_top1),
            )
        )
    if result.test is not None:
        sections += [
            "## Test split",
            (
                f"The head itself, on {result.test.images} pictures that entered no choice: "
                f"{percent(result.test.top1)}. `devit evaluate --head` gives the same."
            ),
            _lost_table(result.test.lost),
        ]
    sections += ["## Classes", _class_table(result), *_picture(pictures, "confusion")]
    if any(map(sum, _confused(result))):
        sections += ["Most confused:", _confused_table(result)]
    sections += ["## More pictures", _more(result), *_picture(pictures, "curve")]
    if result.each_lost:
        sections += ["## Lost parts", _each_table(result), _lost_table(result.lost)]
        sections += _picture(pictures, "lost_parts")
    sections += ["## Wrong", *_picture(pictures, "wrong"), _wrong_table(result)]
    seconds = result.seconds
    sections.append(
        f"{seconds.features:.1f} s for the features ({result.computed} computed, the others "
        f"known), {seconds.measure:.1f} s to measure, {seconds.fit:.2f} s for the fit."
    )
    return "\n\n".join(sections) + "\n"


def percent(fraction: float) -> str:
    """A fraction as "91.2 %"."""
    return f"{100 * fraction:.1f} %"


def _left_out(result: TeachResult) -> list[str]:
    """One sentence if pictures are missing, none otherwise."""
    if not result.unreadable and not result.repeated:
        return []
    return [
        (
            f"{result.unreadable} pictures could not be read, {result.repeated} have the bytes of "
            "another one and count once."
        )
    ]


def _more(result: TeachResult) -> str:
    """What the last step of the learning curve brought."""
    if len(result.curve) < 2:  # noqa: PLR2004
        return "Too few pictures for a curve."
    before, last = result.curve[-2:]
    return (
        f"From {before.images} to {last.images} pictures of each class the accuracy went from "
        f"{percent(before.top1)} to {percent(last.top1)}."
    )


def _picture(pictures: dict[str, str], name: str) -> list[str]:
    return [f"![{_plain(pictures[name])}]({name}.png)"] if name in pictures else []


def _class_table(result: TeachResult) -> str:
    return _table(
        ("class", "pictures", "moments", "found", "right where given"),
        (
            (
                _plain(found.name),
                str(found.images),
                str(found.moments),
                percent(found.recall),
                percent(found.precision),
            )
            for found in result.classes
        ),
    )


def _confused(result: TeachResult) -> list[tuple[int, int, int]]:
    """Count, true and given class of every pair that was confused, the most frequent first."""
    return sorted(
        (
            (count, true, given)
            for true, row in enumerate(result.confusion)
            for given, count in enumerate(row)
            if count and true != given
        ),
        key=lambda pair: (-pair[0], pair[1:]),
    )


def _confused_table(result: TeachResult) -> str:
    names = [_plain(found.name) for found in result.classes]
    return _table(
        ("true class", "given class", "pictures"),
        ((names[true], names[given], str(count)) for count, true, given in _confused(result)[:10]),
    )


def _each_table(result: TeachResult) -> str:
    return _table(
        ("part lost alone", "accuracy"),
        ((str(part), percent(top1)) for part, top1 in enumerate(result.each_lost)),
    )


def _lost_table(lost: Iterable[LostParts]) -> str:
    return _table(
        ("parts lost", "mean", "worst", "lost in the worst"),
        (
            (
                str(entry.count),
                percent(entry.mean),
                percent(entry.worst),
                ", ".join(map(str, entry.worst_parts)) or "-",
            )
            for entry in lost
        ),
    )


def _wrong_table(result: TeachResult) -> str:
    if not result.wrong:
        return "None."
    rows = _table(
        ("picture", "given class", "confidence"),
        (
            (_plain(wrong.picture), _plain(wrong.given), percent(wrong.confidence))
            for wrong in result.wrong[:_LISTED]
        ),
    )
    more = len(result.wrong) - _LISTED
    return rows if more <= 0 else f"{rows}\n\nAnd {more} more: see {RESULT}."


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: str) -> str:
    """``text`` as markdown shows it literally, in a table too."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>#|!" else c for c in shown(text))
