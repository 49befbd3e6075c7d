"""The documents as a site's pages: which there are, and what MkDocs reads otherwise than GitHub.

Python-Markdown wants what belongs to a list item indented by four, GitHub by the width of its mark;
and a site has no source files, so a link to one leads to a page that shows it.
"""

import functools
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parent.parent
FOLDERS = (
    ".",
    "docs",
    "broker",
    "firmware_configs",
    "devit_iot/dashboard/vendor",
    "devit_iot/demo",
    "benchmarks",
)
PICTURES = {".css", ".png", ".svg"}

_FENCE = re.compile(r" *(`{3,}|~{3,})")
_ITEM = re.compile(r"(?:[-*]|\d+\.) +")
_LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]+)")
_LANGUAGES = {
    ".cc": "cpp",
    ".h": "cpp",
    ".py": "python",
    ".toml": "toml",
    ".txt": "cmake",
    ".yml": "yaml",
}


@functools.cache
def documents() -> list[str]:
    """Every Markdown file that people read, from the repository's root."""
    found = {path for folder in FOLDERS for path in (ROOT / folder).glob("*.md")}
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def pictures() -> list[str]:
    """Every picture and style sheet of the documents."""
    found = [path for path in (ROOT / "docs").rglob("*") if path.suffix in PICTURES]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


@functools.cache
def linked_sources() -> list[str]:
    """Files that documents link to and that are no pages, and what is in linked folders."""
    found: set[str] = set()
    for document in documents():
        text = (ROOT / document).read_text()
        for target in (_target(document, link) for link in _LINK.findall(text)):
            path = ROOT / target
            if path.is_dir() and not (path / "README.md").exists():
                found |= {target, *(f"{target}/{file.name}" for file in _texts(path))}
            elif path.is_file() and path.suffix not in PICTURES and target not in documents():
                found.add(target)
    return sorted(found)


def source_page(name: str) -> str:
    """The place of the page that shows a source file, or lists a folder."""
    if (ROOT / name).is_dir():
        return f"{name}/index.md"
    return name if name.endswith(".md") else f"{name}.md"


def source_text(name: str) -> str:
    """The Markdown of the page that shows a source file, or lists a folder."""
    head = f"---\nsearch: {{exclude: true}}\n---\n# {name}\n\n"
    path = ROOT / name
    if path.is_dir():
        return head + "".join(
            f"- [{file.name}]({source_page(file.name)})\n" for file in _texts(path)
        )
    if path.suffix == ".md":
        return path.read_text()
    language = _LANGUAGES.get(path.suffix, "text")
    return f"{head}``````{language}\n{path.read_text()}``````\n"


def for_site(document: str, text: str) -> str:
    """A document's text as MkDocs needs it."""
    sources = set(linked_sources())

    def lead(link: re.Match[str]) -> str:
        target = _target(document, link[0])
        if target in sources:
            return link[0].rstrip("/") + source_page(target).removeprefix(target)
        return f"{link[0].rstrip('/')}/README.md" if (ROOT / target).is_dir() else link[0]

    return "\n".join(_indented(_LINK.sub(lead, text).splitlines())) + "\n"


def _target(document: str, link: str) -> str:
    """A link's target, from the repository's root."""
    parts: list[str] = []
    for level in PurePosixPath(document).parent.joinpath(link).parts:
        parts = parts[:-1] if level == ".." else [*parts, level]
    return "/".join(parts)


def _texts(folder: Path) -> list[Path]:
    """The files of a folder that a page can show."""
    kinds = {*_LANGUAGES, ".md", ".service", ".conf", ".json", ".pyi", ""}
    return sorted(file for file in folder.iterdir() if file.is_file() and file.suffix in kinds)


def _indented(lines: list[str]) -> Iterator[str]:
    """The same lists and fences, with four spaces for each level; a blank line before each list."""
    offsets: list[int] = []  # where the text of each open item begins
    fence, before = "", ""
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if line and not fence:
            offsets = [offset for offset in offsets if offset <= indent]
        base = offsets[-1] if offsets else 0
        text = line[min(base, indent) :]
        item = None if fence else _ITEM.match(text)
        if item and not offsets and before and not _ITEM.match(before):
            yield ""
        yield ("    " * len(offsets) + text).rstrip() if line else ""
        if mark := _FENCE.match(text):
            fence = "" if fence and mark[1].startswith(fence) else fence or mark[1]
        if item:
            offsets.append(base + item.end())
        before = line if indent == 0 else before if line else ""
