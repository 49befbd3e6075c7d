"""``devit capacity``: how many cells, replicas and shards a number of cameras needs."""

import click

from devit_iot.cli.common import one_line_errors
from devit_iot.cli.number import Number
from devit_iot.planning.capacity import Load, capacity, capacity_text

AGGREGATOR_MS = 2.5
"""Processor time of an aggregator for one image, measured: docs/capacity.md."""


@click.command(name="capacity")
@click.option("--cameras", required=True, type=int, help="Number of cameras.")
@click.option(
    "--rate",
    type=Number(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Images a second of each.",
)
@click.option("--image-bytes", default=40_000, show_default=True, help="Size of an image file.")
@click.option("--parts", default=4, show_default=True, help="Number of parts.")
@click.option("--replicas", default=1, show_default=True, help="Nodes that share each part.")
@click.option(
    "--link",
    type=Number(0, min_open=True),
    default=1000.0,
    show_default=True,
    help="Speed of the broker's network, Mbit/s.",
)
@click.option(
    "--engine-ms",
    type=Number(0, min_open=True),
    default=100.0,
    show_default=True,
    help="Time of the slowest part for one image, as `devit bench` or `devit plan` says it.",
)
@click.option(
    "--aggregator-ms",
    type=Number(0, min_open=True),
    default=AGGREGATOR_MS,
    show_default=True,
    help="Processor time of an aggregator for one image.",
)
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
