"""``devit capacity``: how many cells, replicas and shards a number of cameras needs."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from devit_iot.cli.common import one_line_errors
from devit_iot.cli.number import Number
from devit_iot.planning.capacity import Load, capacity, capacity_text

Command = TypeVar("Command", bound=Callable[..., Any])

AGGREGATOR_MS = 2.5
"""Processor time of an aggregator for one image, measured: docs/capacity.md."""


def positive(flag: str, default: float, text: str) -> Callable[[Command], Command]:
    """Add an option that takes a number above 0."""
    kind = Number(0, min_open=True)
    return click.option(flag, type=kind, default=default, show_default=True, help=text)


@click.command(name="capacity")
@click.option("--cameras", required=True, type=int, help="Number of cameras.")
@positive("--rate", 1.0, "Images a second of each.")
@click.option("--image-bytes", default=40_000, show_default=True, help="Size of an image file.")
@click.option("--parts", default=4, show_default=True, help="Number of parts.")
@click.option("--replicas", default=1, show_default=True, help="Nodes that share each part.")
@positive("--link", 1000.0, "Speed of the broker's network, Mbit/s.")
@positive(
    "--engine-ms",
    100.0,
    "Time of the slowest part for one image, as `devit bench` or `devit plan` says it.",
)
@positive("--aggregator-ms", AGGREGATOR_MS, "Processor time of an aggregator for one image.")
@one_line_errors
def capacity_(
    *,
    cameras: int,
    rate: float,
    image_bytes: int,
    parts: int,
    replicas: int,
    link: float,
    engine_ms: float,
    aggregator_ms: float,
) -> None:
    """Calculate traffic, cells, replicas and shards for a number of cameras.

    \b
        devit capacity --cameras 1000 --rate 1 --parts 4
    """
    load = Load(cameras, rate, image_bytes, parts, replicas, link, engine_ms, aggregator_ms)
    for line in capacity_text(load, capacity(load)):
        click.echo(line)
