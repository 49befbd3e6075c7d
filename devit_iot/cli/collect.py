"""``devit collect``: keeps pictures to teach from, on this machine."""

import importlib.util
import os
import threading
from contextlib import suppress
from pathlib import Path

import click

from devit_iot.cli.common import one_line_errors, serve, set_up_logging
from devit_iot.cli.options import CLIENT, COLLECT, FLEET_NAME, configuration, settings
from devit_iot.collect.album import Album, Limits
from devit_iot.collect.service import Collector
from devit_iot.config.config import read_password
from devit_iot.errors import ConfigError
from devit_iot.protocol.teaching import TeachState
from devit_iot.protocol.topics import ImageFilter, Topics
from devit_iot.teach.fit import require_solver
from devit_iot.transport.base import NO_SESSION, Will
from devit_iot.transport.mqtt import MqttTransport

_EXTRA = "install the extra, pip install 'devit-iot[teach]'"
_MAX_PACKET = 2**25
"""Bytes of the longest message that comes: an image, twice as long as nodes take."""


@click.command()
@settings(CLIENT, FLEET_NAME, COLLECT)
@one_line_errors
def collect(config_file: Path | None, **values: object) -> None:
    """Keep the latest and the least certain pictures of each camera, and teach from them.

    One process on the hub, beside the broker. Pictures stay on this machine, in one file of
    bounded size. The live page then shows them, takes classes for them, fits heads and puts them
    live. Fitting needs the extra `teach`.

    \b
        devit collect --broker mqtt://localhost --collect-folder /var/lib/devit-collect
    """
    config = configuration(config_file, values)
    set_up_logging(config.log.format, config.log.level)
    wanted = config.collect
    if not wanted.folder:
        raise ConfigError("no folder for the pictures: give --collect-folder DIR")
    try:
        key = Path(wanted.key).read_bytes() if wanted.key else b""
    except OSError as error:
        raise ConfigError(f"cannot read the key {wanted.key}: {error.strerror}") from error
    limits = Limits(
        wanted.last,
        wanted.least_certain,
        wanted.max_mib * 2**20,
        wanted.max_days,
        wanted.max_cameras,
    )
    topics = Topics(config.fleet)
    transport = MqttTransport(
        config.broker,
        client_id=topics.collector_client_id,
        password=read_password(config.broker, os.environ),
        will=Will(topics.teach_state, TeachState(collecting=False).encode()),
        session=NO_SESSION._replace(max_packet=_MAX_PACKET),
    )
    collector = Collector(
        Album(Path(wanted.folder), limits),
        transport,
        topics=topics,
        images=[ImageFilter(images.topic) for images in config.images],
        config=wanted,
        key=key,
        can_fit=_can_fit(),
    )
    serve(collector)


def _can_fit() -> bool:
    """Whether scikit-learn is there; it is loaded beside all else, for the first fit to be fast."""
    if importlib.util.find_spec("sklearn") is None:
        click.echo("heads cannot be fitted here, pictures are kept all the same: " + _EXTRA)
        return False
    threading.Thread(target=_load_solver, name="solver", daemon=True).start()
    return True


def _load_solver() -> None:
    with suppress(ConfigError):  # the first fit says what is wrong
        require_solver()
