"""``devit camera``: publish images as a camera would."""

import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import get_args

import click

from devit_iot.camera.camera import Camera
from devit_iot.camera.open_source import open_source
from devit_iot.camera.source import Form
from devit_iot.cli.common import one_line_errors, serve, set_up_logging
from devit_iot.cli.number import Number
from devit_iot.cli.options import CLIENT, configuration, settings
from devit_iot.config.config import BrokerConfig, Delivery, read_password
from devit_iot.errors import DevitError
from devit_iot.protocol.topics import check_topic
from devit_iot.transport.mqtt import MqttTransport

logger = logging.getLogger(__name__)


@click.command()
@click.argument("source")
@settings(CLIENT)
@click.option(
    "--topic",
    default="cameras/camera/image/{request}",
    show_default=True,
    help="Where to publish; {request} becomes a fresh request id.",
)
@click.option(
    "--rate",
    default=2.0,
    show_default=True,
    type=Number(0, min_open=True),
    help="Images per second.",
)
@click.option(
    "--delivery",
    default="latest",
    show_default=True,
    type=click.Choice(get_args(Delivery)),
    help="every: at QoS 1, until the broker has acknowledged each image.",
)
@click.option("--count", type=click.IntRange(1), help="Stop after this many images.")
@click.option("--repeat", is_flag=True, help="Start again after the last file.")
@click.option(
    "--size",
    type=click.IntRange(1),
    help="Make images smaller whose longer side has more pixels, for instance to fit the broker.",
)
@click.option(
    "--quality",
    default=85,
    show_default=True,
    type=click.IntRange(1, 100),
    help="JPEG quality of video frames, and of images made smaller.",
)
@click.option(
    "--insecure",
    is_flag=True,
    help="Take any certificate of an https camera, for instance a self-signed one.",
)
@one_line_errors
def camera(  # noqa: PLR0913 - one for each option
    *,
    source: str,
    config_file: Path | None,
    topic: str,
    rate: float,
    delivery: Delivery,
    count: int | None,
    repeat: bool,
    size: int | None,
    quality: int,
    insecure: bool,
    **values: object,
) -> None:
    """Publish SOURCE: an image, a folder, a video file, a URL, or a webcam.

    A webcam is a number or /dev/videoN; a URL is a stream (rtsp, http) or a still image that is
    read anew each time. Both are opened again when they are lost. Passwords in a URL are not shown.

    On SIGHUP --config is read again: the camera moves to the broker that it names, and lets the one
    before go when that has all images. Each image goes to one of the two.

    \b
        devit camera photos/ --topic cameras/door/image --rate 1
        devit camera /dev/video0 --topic cameras/desk/image --rate 5 --size 640
        devit camera rtsp://user:password@camera.local/stream --topic cameras/yard/image
        devit camera http://esp32.local/capture --topic cameras/shed/image --rate 0.2
        devit camera photos/ --topic inspection/line-1/{request} --delivery every
    """
    check_topic(topic)
    config = configuration(config_file, values)
    set_up_logging(config.log.format, config.log.level)
    images = open_source(source, repeat=repeat, form=Form(size, quality), insecure=insecure)
    with closing(images):
        made = Camera(
            islice(images, count),
            _transport(config.broker),
            topic=topic,
            rate=rate,
            delivery=delivery,
            on_stop=images.close,
        )
        _move_on_signal(made, config.broker, lambda: configuration(config_file, values).broker)
        serve(made)


def _transport(broker: BrokerConfig) -> MqttTransport:
    return MqttTransport(
        broker,
        client_id=f"devit-camera-{os.getpid()}",
        password=read_password(broker, os.environ),
    )


def _move_on_signal(made: Camera, broker: BrokerConfig, read: Callable[[], BrokerConfig]) -> None:
    """Move the camera on SIGHUP to the broker that ``read`` returns then."""
    present = [broker]
    turn = threading.Lock()

    def move() -> None:
        with turn:
            try:
                wanted = read()
                if wanted == present[0]:
                    logger.info("the configuration names the same broker, %s", wanted.url)
                    return
                made.move(_transport(wanted))
                present[0] = wanted
                logger.info("moved to %s", wanted.url)
            except DevitError as error:
                logger.warning("not moved, it stays with %s: %s", present[0].url, error)

    def on_signal(_number: int, _frame: object) -> None:
        threading.Thread(target=move, name="move", daemon=True).start()

    signal.signal(signal.SIGHUP, on_signal)
