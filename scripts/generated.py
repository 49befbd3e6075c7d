"""Documents with parts that come from the sources.

A part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path


def filled(document: Path, parts: Mapping[str, Callable[[], str]]) -> str:
    """The document with its generated parts as they should be."""
    text = document.read_text()
    for name, make in parts.items():
        begin, end = f"<!-- generated: {name} -->\n", "<!-- end -->"
        before, found, rest = text.partition(begin)
        if not found:
            sys.exit(f"{document.name}: no place for {name}")
        text = f"{before}{begin}\n{make()}\n\n{end}{rest.partition(end)[2]}"
    return text


def update(document: Path, parts: Mapping[str, Callable[[], str]]) -> None:
    """Write the generated parts; with ``--check`` only exit with 1 if they are not current."""
    wanted = filled(document, parts)
    if "--check" not in sys.argv:
        document.write_text(wanted)
    elif document.read_text() != wanted:
        sys.exit(f"{document.name} is not what the sources say: make format")
