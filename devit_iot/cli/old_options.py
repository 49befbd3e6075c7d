"""Options and variables that have a new name; the old one still works, with a warning."""

import os
from collections.abc import Mapping
from typing import Any

import click

from devit_iot.config.old_keys import renamed

OLD_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "devit acl": {"--broker": "--broker-kind", "--camera": "--camera-app"},
    "devit bundle quantize": {"--dtype": "--storage", "--limit": "--count"},
    "devit dashboard": {"--camera": "--camera-app"},
    "devit demo": {"--broker": "--broker-kind", "--frames": "--count"},
    "devit doctor": {"--camera": "--camera-app"},
    "devit evaluate": {"--limit": "--count"},
    "devit fleet add": {"--dir": "--folder"},
    "devit fleet init": {"--camera": "--camera-app"},
    "devit fleet revoke": {"--dir": "--folder"},
    "devit-node start": {"--camera": "--camera-app"},
}
"""Command -> its old options -> the option that has their place."""

OLD_VARIABLES = {"DEVIT_CAMERA": "DEVIT_CAMERA_APP"}
"""Old environment variable -> the variable that has its place."""


class Command(click.Command):
    """A command that takes its old options too, and says in one line what they are called now.

    Args:
        path: the command as it is typed, a key of ``OLD_OPTIONS``.
    """

    def __init__(self, *args: Any, path: str, **settings: Any) -> None:  # noqa: ANN401 - click's
        super().__init__(*args, **settings)
        self.old = OLD_OPTIONS[path]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, after the old options have become new ones."""
        end = args.index("--") if "--" in args else len(args)
        given = [self._current(ctx, argument) for argument in args[:end]]
        rest = super().parse_args(ctx, [*given, *args[end:]])
        for old, new in OLD_VARIABLES.items():
            if any(self._reads(ctx, parameter, old, new) for parameter in self.params):
                _warn(ctx, f"variable {old}", new)
        return rest

    def _current(self, ctx: click.Context, argument: str) -> str:
        """The argument as it is spelt now."""
        flag, equals, value = argument.partition("=")
        if flag not in self.old:
            return argument
        _warn(ctx, f"option {flag}", self.old[flag])
        return f"{self.old[flag]}{equals}{value}"

    @staticmethod
    def _reads(ctx: click.Context, parameter: click.Parameter, old: str, new: str) -> bool:
        """Whether the parameter's value came from the old variable."""
        source = ctx.get_parameter_source(parameter.name or "")
        return (
            source is click.core.ParameterSource.ENVIRONMENT
            and parameter.envvar == variables(new)
            and not os.environ.get(new)
            and bool(os.environ.get(old))
        )


def variables(variable: str) -> list[str]:
    """The variable, and the old ones whose place it has; the first that is set counts."""
    return [variable, *(old for old, new in OLD_VARIABLES.items() if new == variable)]


def _warn(ctx: click.Context, old: str, new: str) -> None:
    if not ctx.resilient_parsing:  # a shell that completes a line
        click.echo(f"Warning: {renamed(old, new)}", err=True)
