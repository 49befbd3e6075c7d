"""Write what docs/kernels.md states about the sources: `make format`.

    python scripts/kernel_tables.py [--check]

The table of instruction sets comes from the registry, the build file and the names of kernels, the
contracts of accuracy from the headers. With ``--check`` nothing is written, and the exit code is 1
if something would be.
"""

import re
from pathlib import Path
from typing import NamedTuple

from generated import update

ROOT = Path(__file__).parent.parent
KERNELS = ROOT / "csrc" / "kernels"
DOCUMENT = ROOT / "docs" / "kernels.md"


class Row(NamedTuple):
    """One instruction set of the registry.

    Attributes:
        needs: features of the CPU.
    """

    isa: str
    needs: list[str]


def registry_rows() -> list[Row]:
    """Every row of every architecture, in the order in which they are tried."""
    text = (KERNELS / "registry.cc").read_text()
    row = r'isa = "(\w+)".*?return (.*?);'
    named = {name: (isa, condition) for name, isa, condition
             in re.findall(rf"KernelTable (k\w+)(?:\{{| =).*?{row}", text, re.DOTALL)}  # fmt: skip
    body = text.partition("KernelTable kTables[] = {")[2].partition("\n};")[0]
    found = re.findall(rf"^    (?:\{{\.{row}|(k\w+),)", body, re.MULTILINE | re.DOTALL)
    pairs = [named[name] if name else (isa, condition) for isa, condition, name in found]
    return [Row(isa, re.findall(r"cpu\.(\w+)", condition)) for isa, condition in pairs]


def compiler_flags(isa: str) -> list[str]:
    """The instructions that an instruction set's files may use beyond the base architecture."""
    text = (ROOT / "CMakeLists.txt").read_text()
    properties = re.findall(rf"\$\{{kernels_{isa}\}} PROPERTIES\s+COMPILE_OPTIONS (\S+)\)", text)
    return [flag for given in properties for flag in re.findall(r"-m[\w.=+-]+", given)]


def own_kernels(isa: str) -> list[str]:
    """Operations with a file for this instruction set, with their tiles."""
    stems = sorted(path.stem for path in KERNELS.rglob(f"*_{isa}.cc"))
    names = [stem.removesuffix(f"_{isa}") for stem in stems]
    return [re.sub(r"_(\d+x\d+)$", r" \1", name) for name in names]


def instruction_sets() -> str:
    lines = [
        "| instruction set | the CPU has | compiled with | kernels of its own |",
        "| --- | --- | --- | --- |",
    ]
    for isa, needs in registry_rows():
        flags = " ".join(f"`{flag}`" for flag in compiler_flags(isa))
        cells = (f"`{isa}`", ", ".join(needs), flags, ", ".join(own_kernels(isa)))
        lines.append("|" + "".join(f" {cell} |" if cell else " |" for cell in cells))
    return "\n".join(lines)


def contracts() -> str:
    """The paragraphs `Accuracy` of the headers."""
    blocks = []
    for path in sorted(KERNELS.rglob("*.h")):
        for body in re.findall(
            r"^// Accuracy  (.*?)^(?:// \w+  |\w)", path.read_text(), re.MULTILINE | re.DOTALL
        ):
            text = re.sub(r"^// {0,11}", "", body, flags=re.MULTILINE).rstrip()
            where = path.relative_to(KERNELS)
            blocks.append(f"[{path.name}](../csrc/kernels/{where}):\n\n```text\n{text}\n```")
    return "\n\n".join(blocks)


if __name__ == "__main__":
    update(DOCUMENT, {"instruction sets": instruction_sets, "contracts": contracts})
