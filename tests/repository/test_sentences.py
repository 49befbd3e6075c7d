"""A line stands alone: signs of one that leans on the line above, in sources and documents."""

import re
from pathlib import Path

import pytest

from tests.support.documents import DOCUMENTS, ROOT
from tests.support.sentences import Written, c_like, document, python, written

FOLDERS = ("devit_iot", "csrc", "benchmarks", "scripts", "tests")
NAMES_THEM = "CONTRIBUTING.md"  # its rule names the signs
SUFFIXES = {".py", ".h", ".cc", ".c", ".js"}

_CONNECTED = "of|likewise|ditto|and|but|or|so|also|whose"
BEGINS = {
    "docstring": re.compile(rf"({_CONNECTED})\b", re.IGNORECASE),
    "description": re.compile(rf"({_CONNECTED}|that|than)\b", re.IGNORECASE),
    "comment": re.compile(rf"({_CONNECTED}|which)\b", re.IGNORECASE),
    "document": re.compile(r"(of|likewise|ditto)\b", re.IGNORECASE),
}
LEANS = re.compile(
    r"\b(likewise|ditto|the (latter|former)|see (above|below|there))\b"
    r"|\bsee the (class|module|protocol|base class)[.;,]",
    re.IGNORECASE,
)
SUBJECT_LATE = re.compile(r"[.!?] Of ")
NOUN_LACKING = re.compile(r"(the|its|an?) [\w-]+'s([.,;:]|$)", re.IGNORECASE)


def leans(piece: Written) -> str:
    """The sign by which a text leans on what stands above it; empty if there is none."""
    if begins := BEGINS[piece.kind].match(piece.text):
        return f"begins with {begins[0]!r}"
    if word := LEANS.search(piece.text):
        return f"says {word[0]!r}"
    if piece.kind != "document" and SUBJECT_LATE.search(piece.text):
        return "has a sentence that begins with 'Of'"
    if piece.kind == "description" and NOUN_LACKING.match(piece.text):
        return "says whose it is, and not what"
    return ""


def sources() -> list[Path]:
    """Every source of ours, but for this test, which names the signs."""
    return [
        path
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in SUFFIXES and "vendor" not in path.parts and path != Path(__file__)
    ]


def found(paths: list[Path]) -> list[str]:
    """A line for each text that leans."""
    return [
        f"{path.relative_to(ROOT)}:{piece.line}: {sign}: {piece.text[:80]}"
        for path in paths
        for piece in written(path)
        if (sign := leans(piece))
    ]


def test_no_line_of_a_source_leans_on_the_line_above() -> None:
    paths = sources()
    assert len(paths) > 500
    leaning = found(paths)
    assert not leaning, "\n".join(["", *leaning])


def test_no_line_of_a_document_leans_on_the_line_above() -> None:
    leaning = found([path for path in DOCUMENTS if path.name not in {"CHANGELOG.md", NAMES_THEM}])
    assert not leaning, "\n".join(["", *leaning])


ARGS = '"""Cut.\n\nArgs:\n    config: {}\n"""\n'


@pytest.mark.parametrize(
    "source",
    [
        '"""Of a run, for every case."""\n',
        'def f():\n    """Cut.\n\n    Of each block the kept rows stay.\n    """\n',
        '"""Cut. Of each block the kept rows stay."""\n',
        '"""The same, likewise."""\n',
        '"""So it does."""\n',
        '"""The feature; see the class."""\n',
        '"""A block. The latter goes on."""\n',
        ARGS.format("of the stage."),
        ARGS.format("likewise."),
        ARGS.format("that the stage has."),
        ARGS.format("the recipe's."),
        ARGS.format("hyper-parameters;\n        see above."),
        "x = 1  # of one core\n",
        "x = 1\n# Its parts.\n# And their sizes, likewise.\n",
    ],
)
def test_a_python_line_that_leans_is_found(source: str) -> None:
    assert any(map(leans, python(source)))


@pytest.mark.parametrize(
    "source",
    ["int n;  // of rows\n", "// Halves.\n//\n// Of bytes.\n", "/** Likewise, of SVG. */\n"],
)
def test_a_c_line_that_leans_is_found(source: str) -> None:
    assert any(map(leans, c_like(source)))


@pytest.mark.parametrize("source", ["- of a part\n", "| `ms` | likewise |\n", "One.\n\nOf two.\n"])
def test_a_line_of_a_document_that_leans_is_found(source: str) -> None:
    assert any(map(leans, document(source)))


def test_a_line_that_stands_alone_is_not_found() -> None:
    fine = ARGS.format("hyper-parameters of the stage.") + "x = 1  # size of a row, see row()\n"
    assert not any(map(leans, python(fine)))
    assert not any(map(leans, c_like('const char* url = "https://of";  // its address\n')))
    assert not any(map(leans, document("```\nof\n```\n\nA fleet of nodes.\n")))
