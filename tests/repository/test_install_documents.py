"""No document sends a board's owner for a compiler, or to a checkout to install from."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.support.documents import DOCUMENTS, ROOT

FOR_DEVELOPERS = {"CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md"}
"""Documents for those who build the project themselves, or read what it once was."""

COMPILERS = re.compile(
    r"\binstall\b.*(\bg\+\+|\bgcc\b|\bclang\b|build-essential|python3?[\d.]*-dev\b|\bcmake\b)"
    r"|\b(C\+\+ compiler|compilers? (is|are) needed|needs? an? (C\+\+ )?compiler)\b"
)
CHECKOUT = re.compile(
    r"pip (install|wheel) (-\S+ )*['\"]?\.{0,2}/?(\.|\./?[\w-]+)?(\[[\w,]+\])?['\"]?(\s|`|$)"
)
"""A path given to pip: ``.``, ``'.[top]'`` or ``./devit-iot``."""

READ = [path for path in DOCUMENTS if str(path.relative_to(ROOT)) not in FOR_DEVELOPERS]


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


@pytest.mark.parametrize("path", READ, ids=lambda path: str(path.relative_to(ROOT)))
def test_nobody_is_told_to_compile(path: Path) -> None:
    assert [line for line in lines(path) if COMPILERS.search(line) or CHECKOUT.search(line)] == []


@pytest.mark.parametrize(
    "line",
    [
        "sudo apt install g++ python3-dev python3-venv",
        "sudo apt-get install --yes build-essential",
        "It needs Python 3.11 and a C++ compiler.",
        "apt install python3.11-dev",
        "sudo apt install cmake",
    ],
)
def test_a_line_that_asks_for_a_compiler_is_found(line: str) -> None:
    assert COMPILERS.search(line)


@pytest.mark.parametrize(
    "line",
    [
        "devit/bin/pip install ./devit-iot",
        "sudo /opt/devit/bin/pip install .",
        "pip install '.[top]'",
        "(`pip wheel --no-deps .`)",
        "pip install -e '.[bench]'",
    ],
)
def test_a_line_that_installs_a_checkout_is_found(line: str) -> None:
    assert CHECKOUT.search(line)


@pytest.mark.parametrize(
    "line",
    [
        "pip install devit-iot",
        "pip install 'devit-iot[demo]'",
        "pip install --pre --find-links dist devit-iot",
        "sudo apt install python3-venv",
        "The compiler's target decides what is built.",
    ],
)
def test_what_is_right_is_not_found(line: str) -> None:
    assert not COMPILERS.search(line)
    assert not CHECKOUT.search(line)


def test_the_install_page_names_every_extra_for_users() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = (ROOT / "docs/install.md").read_text()
    for_developers = {"dev", "docs", "fuzz", "lint", "mutants", "tflite-export", "wheels"}
    missing = [
        name
        for name in project["optional-dependencies"]
        if name not in for_developers and f"`{name}`" not in page
    ]
    assert missing == []


def test_a_tree_that_was_never_built_has_the_version_that_pyproject_falls_back_to() -> None:
    scm = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools_scm"]
    source = (ROOT / "devit_iot/__init__.py").read_text()
    assert f'__version__ = "{scm["fallback_version"]}"' in source
