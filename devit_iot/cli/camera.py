"""``devit camera``: publish images as a camera would."""

import os
from collections.abc import Iterator
from itertools import islice

import click

from devit_iot.cli.common import one_line_errors, serve, set_up_logging
from devit_iot.config import BrokerConfig, read_password
from devit_iot.services.camera import Camera, Shot, open_source
from devit_iot.transport.mqtt import MqttTransport


@click.command()
@click.argument("source")
@click.option("--broker", "url", envvar="DEVIT_BROKER", default="mqtt://localhost:1883")
@click.option("--username", envvar="DEVIT_USERNAME", default="")
@click.option("--password-file", envvar="DEVIT_PASSWORD_FILE", default="")
@click.option("--ca-file", envvar="DEVIT_CA_FILE", default="")
@click.option(
    "--topic",
    default="cameras/camera/image/{request}",
    show_default=True,
    help="Where to publish; {request} becomes a fresh request id.",
)
@click.option("--rate", default=2.0, show_default=True, type=click.FloatRange(0, min_open=True))
@click.option("--count", type=click.IntRange(1), help="Stop after this many images.")
@click.option("--repeat", is_flag=True, help="Start again after the last file.")
@click.option("--quality", default=85, show_default=True, type=click.IntRange(1, 100))
@one_line_errors
def camera(
    *,
    source: str,
    url: str,
    username: str,
    password_file: str,
    ca_file: str,
    topic: str,
    rate: float,
    count: int | None,
    repeat: bool,
    quality: int,
) -> None:
    r"""Publish SOURCE: an image, a folder, a video file, a stream's URL or a webcam's number.

    \b
        devit camera photos/ --topic cameras/door/image --rate 1
        devit camera 0 --rate 5
    """
    set_up_logging("human", "info")
    config = BrokerConfig(url=url, username=username, password_file=password_file, ca_file=ca_file)
    transport = MqttTransport(
        config, client_id=f"devit-camera-{os.getpid()}", password=read_password(config, os.environ)
    )
    shots: Iterator[Shot] = open_source(source, repeat=repeat, quality=quality)
    serve(Camera(islice(shots, count), transport, topic=topic, rate=rate))
