"""Nothing that an owner reads sends for a compiler, or to a checkout to install from."""

import itertools
import re
import tomllib
from pathlib import Path

import pytest

from tests.support.documents import DOCUMENTS, ROOT

FOR_DEVELOPERS = {"CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md"}
"""Documents for those who build the project themselves, or read what it once was."""

COMPILERS = re.compile(
    r"\b(install|apk add)\b.*(\bg\+\+|\bgcc\b|\bclang\b|build-essential|build-base"
    r"|python3?[\d.]*-dev\b|\bcmake\b|\bcompiler\b)"
    r"|\b(C\+\+ compiler|compilers? (is|are) (needed|required)"
    r"|(needs?|requires?) an? (C\+\+ )?compiler)\b",
    re.IGNORECASE,
)
CHECKOUT = re.compile(
    r"pip (install|wheel) (-\S+ )*['\"]?\.{0,2}/?(\.|\./?[\w-]+)?(\[[\w,]+\])?['\"]?(\s|`|$)"
)
"""A path given to pip: ``.``, ``'.[top]'`` or ``./devit-iot``."""

OTHERS = (
    *("addon/*", "firmware_configs/*", "firmware_configs/profiles/*", "deploy/*/*"),
    *("broker/*", "Containerfile", "compose.yaml"),
)
"""What owners copy or run beside the documents."""

READ = sorted(
    {path for path in DOCUMENTS if str(path.relative_to(ROOT)) not in FOR_DEVELOPERS}
    | {path for pattern in OTHERS for path in ROOT.glob(pattern) if path.is_file()}
)


def asks(text: str) -> list[str]:
    """Lines that ask for a compiler, or that do so with the line after them."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    pairs = [f"{line} {after}" for line, after in itertools.pairwise([*lines, ""])]
    return [pair for pair in pairs if COMPILERS.search(pair)]


@pytest.mark.parametrize("path", READ, ids=lambda path: str(path.relative_to(ROOT)))
def test_nobody_is_told_to_compile(path: Path) -> None:
    text = path.read_text()
    assert asks(text) == []
    assert [line for line in text.splitlines() if CHECKOUT.search(line)] == []


def test_no_message_of_the_programs_asks_for_a_compiler() -> None:
    files = [*(ROOT / "devit_iot").rglob("*.py"), *(ROOT / "devit_iot").rglob("*.js")]
    assert len(files) > 100
    assert {path: found for path in files if (found := asks(path.read_text()))} == {}


def test_all_that_owners_copy_is_read() -> None:
    names = {str(path.relative_to(ROOT)) for path in READ}
    copied = {"README.md", "docs/install.md", "addon/Dockerfile", "firmware_configs/README.md"}
    assert copied | {"firmware_configs/pi5.toml", "Containerfile"} <= names


@pytest.mark.parametrize(
    "line",
    [
        "sudo apt install g++ python3-dev python3-venv",
        "sudo apt-get install --yes build-essential",
        "It needs Python 3.11 and a C++ compiler.",
        "apt install python3.11-dev",
        "sudo apt install cmake",
        "RUN apk add build-base",
        "A compiler is required on the board.",
        "On a Pi 3,\ninstall the system's compiler first.",
        "sudo apt install \\\n  g++ python3-venv",
    ],
)
def test_a_line_that_asks_for_a_compiler_is_found(line: str) -> None:
    assert asks(f"First.\n{line}\nLast.")


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
    assert not asks(line)
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
