"""The commands that containers start, read by the programs' own parsers."""

from collections.abc import Sequence

import click
import pytest

from devit_iot.cli.aggregate import main as aggregate
from devit_iot.cli.devit import main as devit
from devit_iot.cli.node import main as node

PROGRAMS = {"devit": devit, "devit-node": node, "devit-aggregate": aggregate}


def parse(line: Sequence[str]) -> None:
    """Fail the test if the program has no such command or option; nothing is run."""
    program, name, *arguments = line
    group = PROGRAMS[program]
    assert isinstance(group, click.Group)
    command = group.commands[name]
    try:
        command.make_parser(click.Context(command)).parse_args(arguments)
    except click.UsageError as error:
        pytest.fail(f"{line}: {error.format_message()}")
