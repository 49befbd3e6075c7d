"""What people wrote in the sources: docstrings, their descriptions, comments; and in documents."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.documents import without_fences

_SECTION = re.compile(
    r"^(Args|Attributes|Raises|Returns|Yields):\n((?:    .*\n?|\n)+)", re.MULTILINE
)
_ENTRY = re.compile(r"^    [\w*, ]+: (.*(?:\n     +.*)*)", re.MULTILINE)
_C_COMMENT = re.compile(r'((?:[^"/]|"(?:\\.|[^"\\])*"|/(?!/))*)//(.*)')
_NO_SENTENCE = re.compile(r"(noqa|type:|fmt:|pragma|!)")


class Written(NamedTuple):
    """A piece of text that must be understood alone.

    Attributes:
        line: number of the line where it begins, about.
        kind: ``docstring`` for a paragraph of one, ``description`` for an entry of ``Args:`` and
            its like, ``comment``, or ``document`` for a paragraph, list item or table cell.
        text: the words on one line.
    """

    line: int
    kind: str
    text: str


def python(source: str) -> Iterator[Written]:
    """The docstrings, descriptions and comments of a Python file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            line = node.body[0].lineno if node.body else 1
            for kind, text in docstring(ast.get_docstring(node) or ""):
                yield Written(line, kind, text)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    yield from _comments(
        (token.start[0], token.string.lstrip("#"), token.line.lstrip().startswith("#"))
        for token in tokens
        if token.type == tokenize.COMMENT
    )


def docstring(text: str) -> Iterator[tuple[str, str]]:
    """The kind and words of each paragraph and of each description."""
    for paragraph in _SECTION.sub("", text).split("\n\n"):
        yield "docstring", _one_line(paragraph)
    for section, body in _SECTION.findall(text):
        whole = section in {"Returns", "Yields"}
        for entry in [body] if whole else _ENTRY.findall(body):
            yield "description", _one_line(entry)


def c_like(source: str) -> Iterator[Written]:
    """The comments of a C, C++ or JavaScript file."""
    found = []
    for number, line in enumerate(source.splitlines(), 1):
        comment = _C_COMMENT.match(line)
        if comment and not comment[1].endswith(":"):  # a URL is none
            found.append((number, comment[2], not comment[1].strip()))
    yield from _comments(iter(found))
    for block in re.finditer(r"/\*+(.*?)\*/", source, re.DOTALL):
        begin = source.count("\n", 0, block.start()) + 1
        yield Written(begin, "comment", _one_line(re.sub(r"\n\s*\*", "\n", block[1])))


def document(source: str) -> Iterator[Written]:
    """The paragraphs, list items and table cells of a Markdown file; the line is not known."""
    for paragraph in re.split(r"\n\n|\n(?=\s*(?:[-*|]|\d+\.) )", without_fences(source)):
        text = re.sub(r"^\s*(?:[-*]|\d+\.) ", "", paragraph)
        for cell in text.split("|") if text.lstrip().startswith("|") else [text]:
            yield Written(0, "document", _one_line(cell))


def written(path: Path) -> Iterator[Written]:
    """All of a file's text that stands for itself; nothing for files of other kinds."""
    readers = {".py": python, ".md": document, **dict.fromkeys((".h", ".cc", ".c", ".js"), c_like)}
    if reader := readers.get(path.suffix):
        yield from (piece for piece in reader(path.read_text()) if piece.text)


def _comments(lines: Iterator[tuple[int, str, bool]]) -> Iterator[Written]:
    """Comments of whole lines that follow each other are one; a trailing one stands alone."""
    begun: list[tuple[int, str]] = []
    for number, text, alone in lines:
        if begun and (not alone or number != begun[-1][0] + 1 or not text.strip()):
            yield Written(begun[0][0], "comment", _one_line(" ".join(part for _, part in begun)))
            begun = []
        if not alone:
            yield Written(number, "comment", _one_line(text))
        elif text.strip() and not _NO_SENTENCE.match(text.strip()):
            begun.append((number, text))
    if begun:
        yield Written(begun[0][0], "comment", _one_line(" ".join(part for _, part in begun)))


def _one_line(text: str) -> str:
    return " ".join(text.split())
