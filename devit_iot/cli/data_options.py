"""Options of commands that ask a fleet about images of a data set."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from devit_iot.datasets.sources import SPLITS
from devit_iot.protocol.label import DEFAULT_HEAD

Function = TypeVar("Function", bound=Callable[..., Any])


def data_option(function: Function) -> Function:
    """Add ``--data``, which must be given."""
    return click.option(
        "--data",
        required=True,
        metavar="PATH",
        help="Class folders (a folder, zip or tar), a CIFAR archive, or 'digits'.",
    )(function)


def split_option(default: str) -> Callable[[Function], Function]:
    """Add ``--split``, with this default."""
    return click.option(
        "--split",
        type=click.Choice(list(SPLITS)),
        default=default,
        show_default=True,
        help="Of data that has splits.",
    )


def count_option(function: Function) -> Function:
    """Add ``--count``."""
    return click.option(
        "--count", type=click.IntRange(min=1), metavar="N", help="Only some images, evenly spread."
    )(function)


def head_option(function: Function) -> Function:
    """Add ``--head``."""
    return click.option(
        "--head", default=DEFAULT_HEAD, show_default=True, help="Which head of the bundle answers."
    )(function)
