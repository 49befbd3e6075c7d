"""Numbers that a command line gives: nan and infinity are refused, whatever the range."""

import math

import click


class Number(click.FloatRange):
    """A finite number within a range."""

    def convert(
        self, value: float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number; a usage error if it is not finite, or outside the range."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number
