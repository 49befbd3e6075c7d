import math
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from devit_iot.bundle.spec import BlockSpec, SubVitSpec, View, macs
from devit_iot.decompose.report.figures import (
    ACCURACY,
    BOARDS,
    CONFUSION,
    LOSSES,
    LOST,
    POLICY,
)
from devit_iot.decompose.report.figures_boards import budget, draw_boards
from devit_iot.decompose.report.report import headline, write_report
from devit_iot.decompose.report.report_units import (
    count,
    difference,
    duration,
    percent,
    shorten,
    size,
)
from devit_iot.decompose.run_folder.results import (
    AnswersResult,
    History,
    Milestone,
    ModelResult,
    PartResult,
    Results,
)
from devit_iot.evaluation.lost_parts import LostParts
from devit_iot.figures.writing import write_picture

TERMS = ("label", "imitation", "relations", "hsic")
PICTURES = {ACCURACY, POLICY, LOST, CONFUSION, LOSSES}
TEACHER = SubVitSpec(224, 256, 16, 384, 64, 2, (BlockSpec(6, 1536),) * 12)


def history(epochs: int, *terms: str, scale: float = 1.0) -> History:
    return tuple(
        {
            term: scale * (k + 1) * math.exp(-epoch / 10) + 0.1
            for k, term in enumerate(("loss", *terms))
        }
        for epoch in range(epochs)
    )


def example(parts: int = 4, classes: int = 100, tried: int | None = None) -> Results:
    shapes = [
        msgspec.structs.replace(
            TEACHER,
            blocks=tuple(
                BlockSpec(1 + (part + layer) % 3, 64 * (1 + (part * 5 + layer * 7) % 9))
                for layer in range(12)
            ),
        )
        for part in range(parts)
    ]
    teacher = ModelResult(macs(TEACHER), 21_700_000, 0.9421, history(30, "label"), 7500)
    return Results(
        name="an_example",
        classes=tuple(f"class {k}" for k in range(classes)),
        test_images=10_000,
        teacher=teacher,
        teacher_spec=TEACHER,
        teacher_test_top1=0.9312,
        parts=tuple(
            PartResult(
                tuple(range(part, classes, parts)),
                spec,
                ModelResult(macs(spec), 3_400_000, 0.31),
                0.5 + part / 100,
                0.88 - part / 100,
                ModelResult(macs(TEACHER), 21_600_000, 0.97, history(10, "label"), 900.0),
                ModelResult(
                    macs(spec), 3_400_000, 0.951,
                    history(20, *TERMS, scale=1 + part / 5), 1800.5,
                ),
            )
            for part, spec in enumerate(shapes)
        ),
        fleet=ModelResult(
            sum(map(macs, shapes)), 14_000_000, 0.92, history(25, "label", "imitation", "token"),
            3600,
        ),
        test_top1=0.9057,
        test_top5=0.9834,
        lost=tuple(
            LostParts(k, 0.9057 * (1 - (k / parts) ** 1.5), 0.9057 * (1 - (k / parts) ** 1.1))
            for k in range(parts)
            if tried is None or min(k, parts - k) <= tried
        ),
        confusion=tuple(
            tuple(0.93 if i == j else 0.07 / (parts - 1) for j in range(parts))
            if parts > 1
            else (1.0,)
            for i in range(parts)
        ),
        temperature=1.234,
        calibration_error=(0.0456, 0.0123),
        bundle_bytes=15_230_000,
        feature_bytes=(1560,) * parts,
    )  # fmt: skip


def check_pictures(folder: Path, names: set[str]) -> None:
    assert {path.name for path in folder.glob("*.png")} == names
    for name in names:
        path = folder / name
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L"))
        assert pixels.var() > 50
        assert pixels[[0, -1]].min() == 255, f"{name} is cut at an edge"
        assert pixels[:, [0, -1]].min() == 255, f"{name} is cut at an edge"


def test_a_report_shows_its_pictures_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    path = write_report(tmp_path / "new" / "run", example())
    text = path.read_text(encoding="utf-8")
    shown = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", text)
    assert {name for _, name in shown} == PICTURES
    assert all(len(alt) > 40 for alt, _ in shown)
    assert {p.name for p in path.parent.iterdir()} == PICTURES | {"report.md"}
    check_pictures(path.parent, PICTURES)


def test_the_headline_says_the_numbers_of_the_results() -> None:
    results = example()
    largest = max(part.macs for part in results.parts)
    said = re.findall(r"\d+(?:\.\d+)?", headline(results))
    one = results.lost[1]
    assert said == [
        "4", "90.57", "1", "10000", "93.12", "2.55",
        f"{100 * largest / results.teacher.macs:.1f}", "1", f"{100 * one.mean:.2f}",
        f"{100 * (0.9057 - one.mean):.2f}", f"{100 * one.worst:.2f}",
    ]  # fmt: skip
    assert "2.55 points lost" in headline(results)
    better = msgspec.structs.replace(results, teacher_test_top1=0.9)
    assert "0.57 points won" in headline(better)
    tied = msgspec.structs.replace(results, teacher_test_top1=0.9057)
    assert "no point lost or won" in headline(tied)


def test_the_tables_say_the_numbers_of_the_results(tmp_path: Path) -> None:
    results = example()
    text = write_report(tmp_path, results).read_text(encoding="utf-8")
    macs_of = count(results.parts[2].macs)
    row = next(line for line in text.splitlines() if line.startswith("| part 2: student"))
    assert [cell.strip() for cell in row.split("|")][2] == macs_of
    for part in ("95.10 %", "31.00 %", "3.40 M", "30 min", "2 h 5 min"):
        assert part in text, part
    for part in ("1.234", "4.56 %", "1.23 %", "15.2 MB", "1.56 kB", "6.24 kB", "98.34 %"):
        assert part in text, part
    for lost in results.lost:
        assert f"| {lost.count} | {percent(lost.mean)} | {percent(lost.worst)} |" in text
    for block in results.parts[3].spec.blocks:
        assert f"| {block.heads} / {block.mlp_dim} |" in text
    assert "| true: part 1 | 2.33 % | 93.00 % |" in text
    rows = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("|")]
    blocks = re.findall(r"(?:^\|.*\n)+", "\n".join(["", *text.splitlines(), ""]), re.MULTILINE)
    assert sum(block.count("\n") for block in blocks) == len(rows)
    for block in blocks:
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_a_template_of_the_parts_is_a_network_of_the_run(tmp_path: Path) -> None:
    template = ModelResult(macs(TEACHER) // 4, 22_000_000, 0.9, (), 86_400)
    results = msgspec.structs.replace(example(), template=template)
    with_it = write_report(tmp_path / "with", results)
    without = write_report(tmp_path / "without", example())
    rows = [line for line in with_it.read_text().splitlines() if "template of the parts" in line]
    assert len(rows) == 1
    assert "1 d" in rows[0]
    assert "template" not in without.read_text()
    totals = [path.read_text().partition("trainings took ")[2][:6] for path in (with_it, without)]
    assert totals[0] != totals[1]


@pytest.mark.parametrize(
    ("parts", "classes", "tried"), [(1, 3, None), (2, 2, None), (16, 16, 5), (3, 1000, None)]
)
def test_few_and_many_parts(tmp_path: Path, parts: int, classes: int, tried: int | None) -> None:
    results = example(parts, classes, tried)
    path = write_report(tmp_path, results)
    assert f"The fleet of {parts} part" in path.read_text(encoding="utf-8")
    assert ("one part lost" in headline(results)) == (parts > 1)
    check_pictures(tmp_path, PICTURES)


def test_nothing_trained_everything_tied_layers_gone_no_image_of_a_group(tmp_path: Path) -> None:
    results = example(2, 5)

    def bare(model: ModelResult) -> ModelResult:
        return ModelResult(model.macs, model.parameters, 1.0)

    short = msgspec.structs.replace(TEACHER, blocks=TEACHER.blocks[:7])
    results = msgspec.structs.replace(
        results,
        teacher=bare(results.teacher),
        fleet=bare(results.fleet),
        parts=tuple(PartResult(p.classes, short, bare(p.shrunk), 1.0, 1.0) for p in results.parts),
        lost=tuple(LostParts(k, 1.0, 1.0) for k in range(2)),
        test_top1=1.0,
        teacher_test_top1=1.0,
        confusion=((1.0, 0.0), (math.nan, math.nan)),
    )
    text = write_report(tmp_path, results).read_text(encoding="utf-8")
    check_pictures(tmp_path, PICTURES - {LOSSES})
    assert "No training has a history" in text
    assert "numbered anew" in text
    assert "nan" not in text


def test_one_epoch_and_losses_that_were_not_finite(tmp_path: Path) -> None:
    results = example(2, 4)
    fleet = msgspec.structs.replace(results.fleet, history=({"loss": 1.0, "label": math.nan},))
    write_report(tmp_path, msgspec.structs.replace(results, fleet=fleet))
    check_pictures(tmp_path, PICTURES)


def test_names_are_shown_as_they_are_but_short(tmp_path: Path) -> None:
    classes = ("a|b", "[x](y)", "two\nlines", "z" * 300, *("k" * 9 for _ in range(36)))
    results = msgspec.structs.replace(example(2, 40), classes=classes, name="r_1\n" + "w" * 200)
    text = write_report(tmp_path, results).read_text(encoding="utf-8")
    assert text.startswith("# r\\_1 www")
    for name in ("a\\|b", "\\[x\\](y)", "two lines", "z" * 23 + "…", "and 8 more"):
        assert name in text
    assert max(map(len, text.splitlines())) < 1000


def test_units() -> None:
    seconds = (0, 0.04, 9.94, 59.6, 61, 3600, 7500, 90_000)
    assert [duration(s) for s in seconds] == [
        "-", "0.0 s", "9.9 s", "1 min", "1 min 1 s", "1 h", "2 h 5 min", "1 d 1 h",
    ]  # fmt: skip
    numbers = (0, 512, 999.6, 9_999_999, 99_960_000, 999_960_000, 1_260_000_000)
    assert [count(n) for n in numbers] == [
        "0", "512", "1.00 k", "10.0 M", "100 M", "1.00 G", "1.26 G",
    ]  # fmt: skip
    assert [size(n) for n in (0, 999, 1000, 1_540_000)] == ["0 B", "999 B", "1.00 kB", "1.54 MB"]
    assert difference(-0.00004) == "no point lost or won"
    assert percent(math.nan) == "-"
    assert shorten(" a\n b ", 9) == "a b"


def fleet_of(boards: int, top1: float, share: float = 0.3) -> Results:
    """A fleet whose parts cost ``share`` of the teacher each."""
    results = example()
    part = results.parts[0]
    cut = ModelResult(round(share * results.teacher.macs), 1, 0.1)
    return msgspec.structs.replace(
        results,
        parts=(msgspec.structs.replace(part, shrunk=cut),) * boards,
        test_top1=top1,
        lost=tuple(LostParts(k, top1 - k / 100, top1 - k / 50) for k in range(boards)),
    )


def test_the_curve_has_a_line_for_each_budget(tmp_path: Path) -> None:
    fleets = [fleet_of(4, 0.75), fleet_of(1, 0.7), fleet_of(8, 0.71, 0.1), fleet_of(1, 0.6, 0.1)]
    alt = write_picture(tmp_path / "boards.png", lambda: draw_boards(fleets))
    assert alt is not None
    assert "30 % of the teacher each: 1 board 70.00 %, 4 boards 75.00 %" in alt
    assert "10 % of the teacher each: 1 board 60.00 %, 8 boards 71.00 %" in alt
    assert "teacher has 93.12 %" in alt
    check_pictures(tmp_path, {"boards.png"})


def test_one_fleet_makes_no_curve() -> None:
    assert draw_boards([fleet_of(4, 0.75)]) is None


def test_unequal_budgets_are_named_one_by_one() -> None:
    results = fleet_of(2, 0.7)
    small = ModelResult(round(0.1 * results.teacher.macs), 1, 0.1)
    parts = (results.parts[0], msgspec.structs.replace(results.parts[1], shrunk=small))
    assert budget(msgspec.structs.replace(results, parts=parts)) == "30, 10 %"
    assert budget(results) == "30 %"


def test_the_report_shows_the_other_fleets_of_the_run(tmp_path: Path) -> None:
    text = write_report(tmp_path, example(), [fleet_of(1, 0.7)]).read_text(encoding="utf-8")
    assert f"({BOARDS})" in text
    check_pictures(tmp_path, PICTURES | {BOARDS})


def test_the_training_section_says_what_time_and_answers_bought(tmp_path: Path) -> None:
    results = example()
    fleet = msgspec.structs.replace(
        results.fleet, milestones=(Milestone(1, 60.0, 0.4321), Milestone(2, 120.0, 0.5678))
    )
    asked = AnswersResult(8, 12_300_000, 300.0)
    results = msgspec.structs.replace(results, fleet=fleet, answers=asked)
    text = write_report(tmp_path, results).read_text(encoding="utf-8")
    for said in ("8 files of answers, 12.3 MB together, in 5 min", "43.21 %", "56.78 %"):
        assert said in text, said
    assert "All parts learned together, from the first step" in text
    paper = msgspec.structs.replace(results, method="dekd")
    text = write_report(tmp_path, paper).read_text(encoding="utf-8")
    assert "Each part learned its own classes first" in text


def test_the_parts_table_says_what_each_sees_and_is_worth(tmp_path: Path) -> None:
    results = example()
    looking = msgspec.structs.replace(TEACHER, view=View(0.25, 0.0, 0.75, 0.75))
    part = msgspec.structs.replace(results.parts[1], spec=looking)
    parts = (results.parts[0], part, *results.parts[2:])
    text = write_report(tmp_path, msgspec.structs.replace(results, parts=parts)).read_text()
    row = next(line for line in text.splitlines() if line.startswith("| part 1 |"))
    assert "| 75 x 75 % at 25, 0 % |" in row
    assert row.endswith("| 51.00 % | 87.00 % |")
    assert "| whole |" in next(line for line in text.splitlines() if line.startswith("| part 0 |"))
