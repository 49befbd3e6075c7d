"""What docs/fleet.md states about planning, where a machine can compare it."""

import re

import click
import msgspec
import pytest

from devit_iot.cli.plan import plan
from devit_iot.planning.plan import Plan, PlannedBoard, SpareBoard
from devit_iot.planning.problem import MOST_BUSY
from devit_iot.protocol.board import BoardProfile, Speed
from tests.support.documents import ROOT

PAGE = (ROOT / "docs/fleet.md").read_text()


def rows(heading: str) -> list[str]:
    """The first cells of the table whose first heading is ``heading``."""
    (table,) = re.findall(rf"^\| {heading} \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [row.split("|")[1].strip().strip("`") for row in table.splitlines()]


@pytest.mark.parametrize(
    "struct", [BoardProfile, Speed, Plan, PlannedBoard, SpareBoard], ids=lambda s: s.__name__
)
def test_the_files_have_the_documented_fields(struct: type[msgspec.Struct]) -> None:
    assert rows(struct.__name__) == [field.name for field in msgspec.structs.fields(struct)]


def test_numbers_are_those_of_the_code() -> None:
    words = " ".join(PAGE.split())
    defaults = {param.name: param.default for param in plan.params}
    image_bytes = f"{defaults['image_bytes']:,}".replace(",", " ")
    assert f"(`--image-bytes`, {image_bytes})" in words
    assert f"a board may compute {MOST_BUSY:.0%}".replace("%", " %") in words
    assert f"bits a second; {BoardProfile('').link_mbps:g} unless stated" in words
    assert f"one way; {BoardProfile('').link_ms:g} unless stated" in words


def test_every_way_to_parts_and_boards_is_there() -> None:
    flags = {flag for p in plan.params if isinstance(p, click.Option) for flag in p.opts}
    ways = {"--bundle", "--teacher", "--recipe", "--board", "--announced", "--rate", "--capacity"}
    assert ways <= flags
    assert [flag for flag in sorted(ways) if f"`{flag}" not in PAGE] == []
