"""Equations and sections of docs/method.md that the code cites are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
METHOD = (ROOT / "docs/method.md").read_text()
EQUATIONS = [int(number) for number in re.findall(r"^\((\d+)\)  ", METHOD, re.MULTILINE)]
SECTIONS = [int(number) for number in re.findall(r"^## (\d+)\. ", METHOD, re.MULTILINE)]
FOLDERS = ("devit_iot", "csrc", "tests", "benchmarks", "scripts")
SUFFIXES = {".py", ".toml", ".h", ".cc"}


def citations() -> list[tuple[str, str, int]]:
    """The file, `eq.` or `section`, and the number of each citation, ranges by their ends."""
    found = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES and "vendor" not in path.parts:
                text = " ".join(path.read_text().split())
                for cited in re.findall(
                    r"docs/method\.md, ((?:(?:eq\.|sections?) [\d to]+(?:and )?)+)", text
                ):
                    kind = ""
                    for word in cited.split():
                        kind = word if word[0] in "es" else kind
                        if word.isdigit():
                            found.append((str(path.relative_to(ROOT)), kind, int(word)))
    return found


def test_the_numbers_follow_each_other() -> None:
    assert list(range(1, len(EQUATIONS) + 1)) == EQUATIONS
    assert list(range(1, len(SECTIONS) + 1)) == SECTIONS


def test_what_is_cited_exists() -> None:
    found = citations()
    assert len(found) >= 25
    for path, kind, number in found:
        assert number in (EQUATIONS if kind == "eq." else SECTIONS), f"{path}: {kind} {number}"


def test_every_equation_is_cited_by_the_code_that_computes_it() -> None:
    cited = {number for path, kind, number in citations() if kind == "eq." and path[0] == "d"}
    assert cited == set(EQUATIONS)
