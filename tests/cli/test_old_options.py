"""Old names of options and variables work for one minor version, and say their new name once."""

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from devit_iot.cli.aggregate import main as aggregate
from devit_iot.cli.devit import main as devit
from devit_iot.cli.node import main as node
from devit_iot.cli.old_options import OLD_OPTIONS, OLD_VARIABLES
from devit_iot.config.old_keys import LAST_VERSION

PROGRAMS = {"devit": devit, "devit-node": node, "devit-aggregate": aggregate}
OPTIONS = [(path, old, new) for path, row in OLD_OPTIONS.items() for old, new in row.items()]


def command_at(path: str) -> click.Command:
    """The command that is typed like that."""
    program, *names = path.split()
    found: click.Command = PROGRAMS[program]
    for name in names:
        assert isinstance(found, click.Group)
        found = found.commands[name]
    return found


def parsed(command: click.Command, *arguments: str) -> dict[str, Any]:
    """What the command's function would get; required options get a value."""
    given = list(arguments)
    for parameter in command.params:
        taken = {flag.partition("=")[0] for flag in arguments} & set(parameter.opts)
        if isinstance(parameter, click.Argument):
            given.append("anything")
        elif parameter.required and not taken:
            given += [parameter.opts[0], value_of(parameter)]
    return command.make_context("command", given).params


def value_of(parameter: click.Parameter) -> str:
    """Something that the parameter takes."""
    if isinstance(parameter.type, click.Choice):
        return str(list(parameter.type.choices)[-1])
    return "7"


def option(command: click.Command, flag: str) -> click.Parameter:
    """The option of that name."""
    (found,) = (p for p in command.params if flag in p.opts)
    return found


@pytest.mark.parametrize(("path", "old", "new"), OPTIONS)
def test_an_old_option_works_and_warns_once(
    capsys: pytest.CaptureFixture[str], path: str, old: str, new: str
) -> None:
    command = command_at(path)
    value = value_of(option(command, new))
    wanted = parsed(command, new, value)
    assert capsys.readouterr() == ("", "")
    for arguments in ([old, value], [f"{old}={value}"]):
        assert parsed(command, *arguments) == wanted
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith(
            f"Warning: option {old} is now called '{new}'; {LAST_VERSION} is"
        )
        assert said.err.count("\n") == 1


@pytest.mark.parametrize(("path", "old", "new"), OPTIONS)
def test_help_names_the_new_option_only(path: str, old: str, new: str) -> None:
    said = CliRunner().invoke(command_at(path), ["--help"]).output.split()
    assert new in said
    assert old not in said


@pytest.mark.parametrize(("path", "old", "new"), OPTIONS)
def test_completion_of_a_line_does_not_warn(
    capsys: pytest.CaptureFixture[str], path: str, old: str, new: str
) -> None:
    del new
    command_at(path).make_context("command", [old], resilient_parsing=True)
    assert capsys.readouterr().err == ""


def test_what_comes_after_two_dashes_is_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    context = command_at("devit fleet add").make_context("add", ["--", "--dir"])
    assert context.params["name"] == "--dir"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("old", "new"), OLD_VARIABLES.items())
@pytest.mark.parametrize("path", ["devit-node start", "devit dashboard", "devit doctor"])
def test_an_old_variable_works_and_warns_once(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    path: str,
    old: str,
    new: str,
) -> None:
    command = command_at(path)
    monkeypatch.setenv(new, "frigate")
    wanted = parsed(command)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv(old, "esp32-cam")
    assert parsed(command) == wanted != parsed(command, "--camera-app", "esp32-cam")
    assert capsys.readouterr().err == ""
    monkeypatch.delenv(new)
    monkeypatch.setenv(old, "frigate")
    assert parsed(command) == wanted
    said = capsys.readouterr().err
    assert said.startswith(f"Warning: variable {old} is now called '{new}'; {LAST_VERSION} is the")
    assert said.count("\n") == 1
    assert parsed(command, "--camera-app", "default") != wanted
    assert capsys.readouterr().err == ""


def test_a_command_with_old_options_still_runs(tmp_path: Path) -> None:
    for options in (("--broker", "emqx", "--camera", "frigate"), ("--camera=frigate",)):
        done = CliRunner().invoke(devit, ["acl", "--node", "pi-0", *options])
        assert done.exit_code == 0
        assert "frigate/+/+/snapshot" in done.stdout
        assert len(done.stderr.splitlines()) == len([o for o in options if o.startswith("--")])
    made = CliRunner().invoke(devit, ["fleet", "revoke", "pi-0", "--dir", str(tmp_path)])
    assert made.exit_code == 1
    assert f"Error: {tmp_path} is no fleet" in made.stderr


class Reached(Exception):  # noqa: N818 - it is no error
    """The service would have been built."""


@pytest.mark.parametrize("words", [["start"], []])
def test_the_aggregator_starts_with_and_without_the_word(
    monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    def build(config: Any, _environment: object) -> None:  # noqa: ANN401 - of any kind
        raise Reached(config.fleet, config.shards)

    monkeypatch.setattr("devit_iot.cli.aggregate.build_aggregator", build)
    for options in ([], ["--fleet", "barn", "--shards=2"]):
        done = CliRunner().invoke(aggregate, [*words, *options])
        assert isinstance(done.exception, Reached), done.output
        assert done.exception.args == (("barn", 2) if options else ("home", 1))
        assert done.stderr == ""
    for flag in ("--help", "--version"):
        assert CliRunner().invoke(aggregate, [*words[:0], flag]).exit_code == 0
    assert "--min" not in CliRunner().invoke(aggregate, ["--help"]).output
    assert "--shard " in CliRunner().invoke(aggregate, ["start", "--help"]).output
    assert CliRunner().invoke(aggregate, ["strat"]).exit_code == 2
