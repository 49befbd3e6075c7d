"""Numbers of the command line are finite."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from devit_iot.cli.capacity import capacity_
from devit_iot.cli.devit import main
from devit_iot.cli.number import Number


def numbers(command: click.Command) -> Iterator[tuple[str, Number]]:
    """Every option of a command and of those below it that takes a number with a fraction."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            yield from numbers(below)
    for option in command.params:
        kinds = option.type.types if isinstance(option.type, click.Tuple) else [option.type]
        for kind in kinds:
            if kind.name.startswith("float"):
                assert isinstance(kind, Number), option.opts[0]
                yield f"{command.name} {option.opts[0]}", kind


NUMBERS = dict(numbers(main))


def test_the_commands_take_numbers() -> None:
    assert {"bench --watts", "capacity --rate", "import --mean", "push --wait"} <= set(NUMBERS)


@pytest.mark.parametrize("option", NUMBERS)
@pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
def test_a_number_must_be_finite(option: str, text: str) -> None:
    with pytest.raises(click.BadParameter):
        NUMBERS[option](text)


@pytest.mark.parametrize("text", ["0", "2.5"])
def test_a_finite_number_within_the_range_is_taken(text: str) -> None:
    assert Number(0)(text) == float(text)


def test_the_error_says_what_is_wrong() -> None:
    result = CliRunner().invoke(capacity_, ["--cameras", "1", "--rate", "nan"])
    assert result.exit_code == 2
    assert "nan is not a finite number" in result.output
